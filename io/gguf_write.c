/* Writing GGUF files: keys, the table of tensors, their bytes. */
#include "io/gguf_write.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/numbers.h"

#define ALIGNMENT 32 /* of tensors, where no key says otherwise */
#define SLAB 65536   /* numbers written at a time, at least one row */

int plumb_gguf_writer_open(struct plumb_gguf_writer *w)
{
    *w = (struct plumb_gguf_writer){ 0 };
    w->f = open_memstream(&w->data, &w->n);
    return w->f ? PLUMB_OK : plumb_fail(PLUMB_EMEM, "could not allocate the keys of a GGUF file");
}

void plumb_gguf_writer_release(struct plumb_gguf_writer *w)
{
    if (w->f) fclose(w->f);
    free(w->data);
    *w = (struct plumb_gguf_writer){ 0 };
}

static void put(FILE *f, const void *p, size_t n) { fwrite(p, 1, n, f); }
static void put_u32(FILE *f, uint32_t v) { put(f, &v, sizeof v); }
static void put_u64(FILE *f, uint64_t v) { put(f, &v, sizeof v); }
static void put_text(FILE *f, const char *s, size_t n)
{
    put_u64(f, n);
    put(f, s, n);
}

static void put_key(struct plumb_gguf_writer *w, const char *key, enum plumb_gguf_type type)
{
    put_text(w->f, key, strlen(key));
    put_u32(w->f, type);
    w->keys++;
}

static void put_array(struct plumb_gguf_writer *w, const char *key, enum plumb_gguf_type type,
                      int64_t n)
{
    put_key(w, key, PLUMB_GGUF_ARRAY);
    put_u32(w->f, type);
    put_u64(w->f, (uint64_t)n);
}

void plumb_gguf_put_u32(struct plumb_gguf_writer *w, const char *key, uint32_t value)
{
    put_key(w, key, PLUMB_GGUF_U32);
    put_u32(w->f, value);
}

void plumb_gguf_put_f32(struct plumb_gguf_writer *w, const char *key, double value)
{
    const float f = (float)value;
    put_key(w, key, PLUMB_GGUF_F32);
    put(w->f, &f, sizeof f);
}

void plumb_gguf_put_bool(struct plumb_gguf_writer *w, const char *key, bool value)
{
    const char byte = value;
    put_key(w, key, PLUMB_GGUF_BOOL);
    put(w->f, &byte, 1);
}

void plumb_gguf_put_text(struct plumb_gguf_writer *w, const char *key, const char *s, size_t n)
{
    put_key(w, key, PLUMB_GGUF_STRING);
    put_text(w->f, s, n);
}

void plumb_gguf_put_texts(struct plumb_gguf_writer *w, const char *key, const char *const *s,
                          int64_t n)
{
    put_array(w, key, PLUMB_GGUF_STRING, n);
    for (int64_t i = 0; i < n; i++)
        put_text(w->f, s[i], strlen(s[i]));
}

void plumb_gguf_put_f32s(struct plumb_gguf_writer *w, const char *key, const float *x, int64_t n)
{
    put_array(w, key, PLUMB_GGUF_F32, n);
    put(w->f, x, (size_t)n * sizeof *x);
}

void plumb_gguf_put_i32s(struct plumb_gguf_writer *w, const char *key, const int32_t *x, int64_t n)
{
    put_array(w, key, PLUMB_GGUF_I32, n);
    put(w->f, x, (size_t)n * sizeof *x);
}

void plumb_gguf_put_entry(struct plumb_gguf_writer *w, const struct plumb_gguf_entry *e)
{
    put_text(w->f, e->key, e->key_bytes);
    if (e->array) put_u32(w->f, PLUMB_GGUF_ARRAY);
    put_u32(w->f, e->type);
    if (e->array) put_u64(w->f, (uint64_t)e->count);
    put(w->f, e->data, e->bytes);
    w->keys++;
}

static int64_t bytes_of(enum plumb_gguf_store store, int64_t numbers)
{
    switch (store) {
    case PLUMB_STORE_Q8_0: return numbers / 32 * 34;
    case PLUMB_STORE_F32: return 4 * numbers;
    default: return 2 * numbers;
    }
}

/* The rows of the table: sizes with the contiguous one first. */
static void put_table(FILE *f, const struct plumb_weights *from, const enum plumb_gguf_store *store)
{
    uint64_t offset = 0;
    for (int64_t i = 0; i < from->count; i++) {
        const struct plumb_weight *t = &from->tensor[i];
        put_text(f, t->name, strlen(t->name));
        put_u32(f, (uint32_t)t->rank);
        for (int d = t->rank - 1; d >= 0; d--)
            put_u64(f, (uint64_t)t->shape[d]);
        put_u32(f, store[i]);
        put_u64(f, offset);
        offset += (uint64_t)(bytes_of(store[i], t->count) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
}

struct buffers {
    double *numbers;
    float *floats;
    char *bytes;
};

/* Where the first number stands that `store` has no finite number for, -1 without one. */
static int64_t find_unfit(enum plumb_gguf_store store, const double *x, int64_t n)
{
    const double most = store == PLUMB_STORE_F16    ? 65520.0 /* half way to what follows 65504 */
                        : store == PLUMB_STORE_Q8_0 ? 127 * 65504.0
                        : store == PLUMB_STORE_BF16 ? 0x1.FFp127
                                                    : 0x1.FFFFFFp127;
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(x[i]) < most)) return i;
    return -1;
}

static int refuse(const struct plumb_weights *from, const struct plumb_weight *t, int64_t at,
                  double x, enum plumb_gguf_store store)
{
    static const char *const names[] = { [PLUMB_STORE_F32] = "f32",
                                         [PLUMB_STORE_F16] = "f16",
                                         [PLUMB_STORE_Q8_0] = "q8_0",
                                         [PLUMB_STORE_BF16] = "bf16" };
    return plumb_fail(PLUMB_ENUM,
                      "\"%s\": number %lld of tensor \"%s\" is %g, which %s does not hold",
                      from->origin, (long long)at, t->name, x, names[store]);
}

static void encode(enum plumb_gguf_store store, const struct buffers *b, int64_t n)
{
    if (store != PLUMB_STORE_Q8_0) {
        plumb_numbers_encode(store == PLUMB_STORE_F32    ? PLUMB_F32
                             : store == PLUMB_STORE_BF16 ? PLUMB_BF16
                                                         : PLUMB_F16,
                             b->numbers, n, b->bytes);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        b->floats[i] = (float)b->numbers[i];
    plumb_quantize_q8_0(b->floats, n, b->bytes);
}

static int put_tensor(struct plumb_writer *out, const struct plumb_weights *from, int64_t index,
                      enum plumb_gguf_store store, const struct buffers *b)
{
    static const char zero[ALIGNMENT];
    const struct plumb_weight *t = &from->tensor[index];
    for (int64_t at = 0, n; at < t->count; at += n) {
        n = t->count - at < SLAB ? t->count - at : SLAB;
        PLUMB_TRY(from->read(from, index, at, n, b->numbers));
        const int64_t unfit = find_unfit(store, b->numbers, n);
        if (unfit >= 0) return refuse(from, t, at + unfit, b->numbers[unfit], store);
        encode(store, b, n);
        PLUMB_TRY(plumb_writer_put(out, b->bytes, (size_t)bytes_of(store, n)));
    }
    const size_t over = (size_t)bytes_of(store, t->count) % ALIGNMENT;
    return over ? plumb_writer_put(out, zero, ALIGNMENT - over) : PLUMB_OK;
}

/* Everything before the tensors' bytes. */
static int put_head(struct plumb_gguf_writer *w, struct plumb_writer *out,
                    const struct plumb_weights *from, const enum plumb_gguf_store *store)
{
    static const char zero[ALIGNMENT];
    const uint64_t counts[] = { (uint64_t)from->count, w->keys };
    const uint32_t version = 3;
    put_table(w->f, from, store);
    const bool lost = fflush(w->f) != 0 || ferror(w->f);
    if (lost) return plumb_fail(PLUMB_EMEM, "could not allocate the keys of \"%s\"", out->path);
    PLUMB_TRY(plumb_writer_put(out, "GGUF", 4));
    PLUMB_TRY(plumb_writer_put(out, &version, sizeof version));
    PLUMB_TRY(plumb_writer_put(out, counts, sizeof counts));
    PLUMB_TRY(plumb_writer_put(out, w->data, w->n));
    const size_t over = (4 + sizeof version + sizeof counts + w->n) % ALIGNMENT;
    return over ? plumb_writer_put(out, zero, ALIGNMENT - over) : PLUMB_OK;
}

int plumb_gguf_write(struct plumb_gguf_writer *w, const char *path,
                     const struct plumb_weights *from, const enum plumb_gguf_store *store)
{
    int rc = PLUMB_OK;
    struct plumb_writer out = { 0 };
    const struct buffers b = { malloc(SLAB * sizeof *b.numbers), malloc(SLAB * sizeof *b.floats),
                               malloc(SLAB * sizeof *b.floats) };
    if (!b.numbers || !b.floats || !b.bytes)
        PLUMB_TRYG(plumb_fail(PLUMB_EMEM, "could not allocate a buffer to write \"%s\"", path));
    PLUMB_TRYG(plumb_writer_open(&out, path));
    PLUMB_TRYG(put_head(w, &out, from, store));
    for (int64_t i = 0; i < from->count; i++)
        PLUMB_TRYG(put_tensor(&out, from, i, store[i], &b));
    PLUMB_TRYG(plumb_writer_commit(&out));
out:
    plumb_writer_abort(&out);
    free(b.numbers);
    free(b.floats);
    free(b.bytes);
    return rc;
}
