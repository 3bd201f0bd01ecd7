/* Bytes of a GGUF file, put together by tests. */
#pragma once
#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/file.h"

struct gguf_bytes {
    char data[1 << 16];
    size_t n;
};

static inline void put(struct gguf_bytes *b, const void *p, size_t n)
{
    cr_assert_leq(b->n + n, sizeof b->data);
    memcpy(b->data + b->n, p, n);
    b->n += n;
}
static inline void put_u16(struct gguf_bytes *b, uint16_t v) { put(b, &v, sizeof v); }
static inline void put_u32(struct gguf_bytes *b, uint32_t v) { put(b, &v, sizeof v); }
static inline void put_u64(struct gguf_bytes *b, uint64_t v) { put(b, &v, sizeof v); }
static inline void put_text(struct gguf_bytes *b, const char *s)
{
    put_u64(b, strlen(s));
    put(b, s, strlen(s));
}
static inline void put_header(struct gguf_bytes *b, uint64_t tensors, uint64_t keys)
{
    b->n = 0;
    put(b, "GGUF", 4);
    put_u32(b, 3);
    put_u64(b, tensors);
    put_u64(b, keys);
}
static inline void put_key(struct gguf_bytes *b, const char *key, uint32_t type)
{
    put_text(b, key);
    put_u32(b, type);
}
static inline void put_key_u32(struct gguf_bytes *b, const char *key, uint32_t value)
{
    put_key(b, key, 4);
    put_u32(b, value);
}
static inline void put_key_f32(struct gguf_bytes *b, const char *key, float value)
{
    put_key(b, key, 6);
    put(b, &value, sizeof value);
}
static inline void put_key_text(struct gguf_bytes *b, const char *key, const char *value)
{
    put_key(b, key, 8);
    put_text(b, value);
}
/* A row of the tensor table; sizes as files store them, the contiguous one first. */
static inline void put_tensor(struct gguf_bytes *b, const char *name, uint64_t inner,
                              uint64_t outer, uint32_t type, uint64_t offset)
{
    put_text(b, name);
    put_u32(b, outer ? 2 : 1);
    put_u64(b, inner);
    if (outer) put_u64(b, outer);
    put_u32(b, type);
    put_u64(b, offset);
}
static inline void pad(struct gguf_bytes *b)
{
    static const char zero[32];
    put(b, zero, (32 - b->n % 32) % 32);
}
/* The file's path; one file for each process, which the caller unlinks. */
static inline const char *save(const struct gguf_bytes *b)
{
    static char path[64];
    snprintf(path, sizeof path, "/tmp/plumb-gguf-%ld.gguf", (long)getpid());
    FILE *f = fopen(path, "wb");
    cr_assert_not_null(f);
    cr_assert_eq(fwrite(b->data, 1, b->n, f), b->n);
    cr_assert_eq(fclose(f), 0);
    return path;
}
