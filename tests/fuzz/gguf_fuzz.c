/* A GGUF file: its tables, its model and weights, its tokenizer. */
#include <stdlib.h>
#include <string.h>

#include "io/chat.h"
#include "io/file.h"
#include "io/gguf.h"
#include "io/gguf_export.h"
#include "io/gguf_model.h"
#include "io/hf_model.h"
#include "io/tokenizer.h"
#include "tests/fuzz/fuzz.h"

static void read_entry(const struct plumb_gguf *g, const struct plumb_gguf_entry *e)
{
    char key[64];
    int64_t number, n;
    double real;
    bool flag;
    const char *s;
    const char *const *strings = NULL;
    int32_t *ints = NULL;
    float *floats = NULL;
    size_t length;
    if (e->key_bytes >= sizeof key) return;
    memcpy(key, e->key, e->key_bytes);
    key[e->key_bytes] = 0;
    PLUMB_ASSERT(plumb_gguf_find(g, key) == e);
    if (fuzz_good(plumb_gguf_i64(g, key, &number))) fuzz_note(&number, sizeof number);
    if (fuzz_good(plumb_gguf_f64_or(g, key, 0, &real))) fuzz_note(&real, sizeof real);
    if (fuzz_good(plumb_gguf_bool_or(g, key, false, &flag))) fuzz_note(&flag, sizeof flag);
    if (fuzz_good(plumb_gguf_string(g, key, &s, &length))) fuzz_note(s, length);
    if (fuzz_good(plumb_gguf_strings(g, key, &strings, &n)))
        for (int64_t i = 0; i < n; i++)
            fuzz_note_text(strings[i]);
    if (fuzz_good(plumb_gguf_i32s(g, key, &ints, &n))) fuzz_note(ints, (size_t)n * sizeof *ints);
    if (fuzz_good(plumb_gguf_f32s(g, key, &floats, &n)))
        fuzz_note(floats, (size_t)n * sizeof *floats);
    free((void *)strings);
    free(ints);
    free(floats);
}

static void read_tables(const char *path)
{
    enum { MOST = 70 };
    struct plumb_gguf g;
    double out[MOST];
    if (!fuzz_good(plumb_gguf_open(&g, path))) return;
    for (int64_t i = 0; i < g.entries && i < 64; i++)
        read_entry(&g, &g.entry[i]);
    for (int64_t i = 0; i < g.tensors; i++) {
        const struct plumb_gguf_tensor *t = &g.tensor[i];
        const int64_t n = t->count < MOST ? t->count : MOST;
        PLUMB_ASSERT(plumb_gguf_tensor_find(&g, t->name) == i);
        plumb_gguf_read(t, 0, n, out);
        fuzz_note(out, (size_t)n * sizeof *out);
        plumb_gguf_read(t, t->count - n, n, out);
        fuzz_note(out, (size_t)n * sizeof *out);
    }
    plumb_gguf_release(&g);
}

/* Written and opened again: what the reader takes is written so that it takes it again. */
static void write_model(const struct plumb_hf_model *m)
{
    char out[4096];
    struct plumb_hf_model back;
    if (!fuzz_good(plumb_path_join(out, sizeof out, fuzz_folder(), "again.gguf"))) return;
    if (!fuzz_good(plumb_gguf_export(m, PLUMB_STORE_F32, out))) return;
    if (!fuzz_good(plumb_hf_model_open(&back, out, 0))) return;
    PLUMB_ASSERT(back.elements == m->elements);
    plumb_hf_model_release(&back);
}

static void read_model(const char *path)
{
    enum { ELEMENTS = 1 << 16 };
    static float flat[ELEMENTS];
    struct plumb_hf_model m;
    if (!fuzz_good(plumb_hf_model_open(&m, path, 0))) return;
    if (m.elements <= ELEMENTS && fuzz_good(plumb_hf_model_read(&m, PLUMB_F32, flat, false)))
        fuzz_note(flat, (size_t)m.elements * sizeof *flat);
    if (m.elements <= ELEMENTS) write_model(&m);
    plumb_hf_model_release(&m);
}

static void read_tokenizer(const char *path)
{
    struct plumb_text t;
    struct plumb_chat chat;
    struct plumb_idbuf ids = { 0 };
    static const char text[] = "Hello  world, it's 2024!\n\xC3\xA9\xE4\xBD\xA0";
    char *back = NULL;
    size_t n;
    if (!fuzz_good(plumb_tokenizer_open(&t, path))) return;
    if (fuzz_good(t.encode(t.self, text, sizeof text - 1, true, &ids)) &&
        fuzz_good(t.decode(t.self, ids.id, ids.n, false, &back, &n))) {
        fuzz_note(ids.id, (size_t)ids.n * sizeof *ids.id);
        fuzz_note(back, n);
    }
    free(back);
    plumb_idbuf_release(&ids);
    if (fuzz_good(plumb_chat_open(&chat, path, NULL, &t))) plumb_chat_release(&chat);
    plumb_tokenizer_release(&t);
    fuzz_good(plumb_gguf_write_tokenizer(path, fuzz_folder()));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const char *path = fuzz_file("model.gguf", (struct fuzz_part){ (const char *)data, n });
    read_tables(path);
    read_model(path);
    read_tokenizer(path);
    return 0;
}
