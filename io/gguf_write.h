/* Writing GGUF files, version 3: metadata is gathered in memory, tensors are read row by row as
 * they are written. */
#pragma once
#include "io/gguf.h"
#include "io/weights.h"

/* How tensors are stored, numbered as in files. */
enum plumb_gguf_store {
    PLUMB_STORE_F32 = 0,
    PLUMB_STORE_F16 = 1,
    PLUMB_STORE_Q8_0 = 8,
    PLUMB_STORE_BF16 = 30
};

struct plumb_gguf_writer {
    FILE *f; /* into `data` */
    char *data;
    size_t n;
    uint64_t keys;
};

/* Takes memory as keys come; what finds none is reported by plumb_gguf_write. */
int plumb_gguf_writer_open(struct plumb_gguf_writer *w);
void plumb_gguf_writer_release(struct plumb_gguf_writer *w); /* takes a zeroed one */
void plumb_gguf_put_u32(struct plumb_gguf_writer *w, const char *key, uint32_t value);
void plumb_gguf_put_f32(struct plumb_gguf_writer *w, const char *key, double value);
void plumb_gguf_put_bool(struct plumb_gguf_writer *w, const char *key, bool value);
void plumb_gguf_put_text(struct plumb_gguf_writer *w, const char *key, const char *s, size_t n);
void plumb_gguf_put_texts(struct plumb_gguf_writer *w, const char *key, const char *const *s,
                          int64_t n);
void plumb_gguf_put_f32s(struct plumb_gguf_writer *w, const char *key, const float *x, int64_t n);
void plumb_gguf_put_i32s(struct plumb_gguf_writer *w, const char *key, const int32_t *x, int64_t n);
/* A key of another file, as it stands there. */
void plumb_gguf_put_entry(struct plumb_gguf_writer *w, const struct plumb_gguf_entry *e);

/* The file at `path`, whole or not at all: the keys of `w`, and the tensors of `from` under GGUF's
 * names and in its layouts, tensor i stored as store[i] (Q8_0 wants rows of a multiple of 32
 * numbers). A number that is none, or too large for its type, is PLUMB_ENUM naming tensor and
 * place. */
int plumb_gguf_write(struct plumb_gguf_writer *w, const char *path,
                     const struct plumb_weights *from, const enum plumb_gguf_store *store);
