/* A safetensors file, or, where the input starts with '{', an index beside one good shard. */
#include <string.h>

#include "io/safetensors.h"
#include "tests/fuzz/fuzz.h"

static const char shard[] = "\x70\0\0\0\0\0\0\0"
                            "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                            "\"b\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[8,10]}}  "
                            "\0\0\x80\x3f\0\0\0\x40\x80\x3f";

static void read_ends(const struct plumb_weights *w)
{
    enum { MOST = 40 };
    double out[MOST];
    for (int64_t i = 0; i < w->count; i++) {
        const struct plumb_weight *t = &w->tensor[i];
        const int64_t n = t->count < MOST ? t->count : MOST;
        PLUMB_ASSERT(plumb_weights_find(w, t->name) == i);
        fuzz_note_text(t->name);
        if (fuzz_good(w->read(w, i, 0, n, out))) fuzz_note(out, (size_t)n * sizeof *out);
        if (fuzz_good(w->read(w, i, t->count - n, n, out))) fuzz_note(out, (size_t)n * sizeof *out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct plumb_weights w;
    const bool index = n && data[0] == '{';
    if (index) fuzz_file("model-1.safetensors", (struct fuzz_part){ shard, sizeof shard - 1 });
    const char *path = fuzz_file(index ? "model.safetensors.index.json" : "model.safetensors",
                                 (struct fuzz_part){ (const char *)data, n });
    if (!fuzz_good(plumb_safetensors_open(&w, path))) return 0;
    read_ends(&w);
    plumb_weights_release(&w);
    return 0;
}
