/* GGUF (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md), versions 2 and 3,
 * little-endian: typed metadata, a table of tensors, their bytes. Memory-mapped: opening costs the
 * tables only, at most 32 times their bytes in memory. */
#pragma once
#include "io/file.h"

#define PLUMB_GGUF_RANK 4

/* Value types of metadata, numbered as in files. */
enum plumb_gguf_type {
    PLUMB_GGUF_U8,
    PLUMB_GGUF_I8,
    PLUMB_GGUF_U16,
    PLUMB_GGUF_I16,
    PLUMB_GGUF_U32,
    PLUMB_GGUF_I32,
    PLUMB_GGUF_F32,
    PLUMB_GGUF_BOOL,
    PLUMB_GGUF_STRING,
    PLUMB_GGUF_ARRAY,
    PLUMB_GGUF_U64,
    PLUMB_GGUF_I64,
    PLUMB_GGUF_F64,
    PLUMB_GGUF_TYPES
};

struct plumb_gguf_entry {
    const char *key; /* (key_bytes) printable ASCII, not terminated */
    size_t key_bytes;
    enum plumb_gguf_type type; /* of the value, or of an array's elements; never ARRAY */
    bool array;
    int64_t count;    /* elements; 1 outside arrays */
    const char *data; /* as stored, unaligned */
    size_t bytes;
};

struct plumb_gguf_format;
struct plumb_gguf_tensor {
    char name[96];
    const char *type; /* "F32", "Q4_1", ... */
    const struct plumb_gguf_format *format;
    int rank;
    int64_t shape[PLUMB_GGUF_RANK]; /* row-major: the last is contiguous */
    int64_t count;
    const void *data; /* stored bytes, unaligned */
    size_t bytes;
};

struct plumb_gguf {
    char *path;
    struct plumb_map map;
    struct plumb_gguf_entry *entry; /* (entries) sorted by key */
    int64_t entries;
    struct plumb_gguf_tensor *tensor; /* (tensors) sorted by name */
    int64_t tensors;
};

/* Checks everything that the tables say: sizes, types, offsets within the file, no two tensors or
 * keys of one name, no overlap. Tensors of F64, F32, F16, BF16 and the types of plumb/quant.h;
 * another one is PLUMB_ENOTSUP naming it. A zeroed *g after a failure. */
int plumb_gguf_open(struct plumb_gguf *g, const char *path);
void plumb_gguf_release(struct plumb_gguf *g); /* takes a zeroed one */

/* NULL without one. */
const struct plumb_gguf_entry *plumb_gguf_find(const struct plumb_gguf *g, const char *key);
/* Typed reads; fail naming file, key and what stands there. `_or` gives fallback when absent. Whole
 * numbers of every width; strings point into the file, not terminated, without NUL bytes. */
int plumb_gguf_i64(const struct plumb_gguf *g, const char *key, int64_t *out);
int plumb_gguf_i64_or(const struct plumb_gguf *g, const char *key, int64_t fallback, int64_t *out);
int plumb_gguf_f64_or(const struct plumb_gguf *g, const char *key, double fallback, double *out);
int plumb_gguf_bool_or(const struct plumb_gguf *g, const char *key, bool fallback, bool *out);
int plumb_gguf_string(const struct plumb_gguf *g, const char *key, const char **out, size_t *n);
/* *out = malloc'ed copy with NUL of a string, NULL when absent. */
int plumb_gguf_copy_string(const struct plumb_gguf *g, const char *key, char **out);
/* *out = one malloc'ed block: *n pointers to terminated strings, and the strings. NULL when
 * absent. */
int plumb_gguf_strings(const struct plumb_gguf *g, const char *key, const char *const **out,
                       int64_t *n);
/* *out = malloc'ed copy of an array of i32 (u32 below 2^31 too) or f32; NULL when absent. */
int plumb_gguf_i32s(const struct plumb_gguf *g, const char *key, int32_t **out, int64_t *n);
int plumb_gguf_f32s(const struct plumb_gguf *g, const char *key, float **out, int64_t *n);

int64_t plumb_gguf_tensor_find(const struct plumb_gguf *g, const char *name); /* -1 without one */
/* out[i] = element first + i (row-major) of a tensor, dequantised in f32 as ggml does; in range. */
void plumb_gguf_read(const struct plumb_gguf_tensor *t, int64_t first, int64_t n, double *out);
