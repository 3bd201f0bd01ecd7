/* The inside of the GGUF reader: tensor types, and bounded reads from the mapped file. */
#pragma once
#include <plumb/quant.h>

#include "io/gguf.h"

/* How a tensor type stores numbers: in blocks of `per` numbers and `bytes` bytes. */
struct plumb_gguf_format {
    const char *name;
    int64_t per, bytes;     /* 0 = known by name only */
    enum plumb_quant quant; /* NONE = plain numbers of `plain` */
    enum plumb_dtype plain;
};
/* The format of a type's number in files, NULL for a number that nobody knows. */
const struct plumb_gguf_format *plumb_gguf_format(uint32_t type);

struct plumb_gguf_cursor {
    const char *path, *at, *end;
};
/* Fails where the file ends first, saying inside what. */
int plumb_gguf_take(struct plumb_gguf_cursor *c, void *out, size_t n, const char *what);
/* A length and so many bytes, left in place. */
int plumb_gguf_take_text(struct plumb_gguf_cursor *c, const char **out, size_t *n,
                         const char *what);
/* A name of 1 to `most` printable ASCII characters. */
int plumb_gguf_take_name(struct plumb_gguf_cursor *c, size_t most, const char **out, size_t *n,
                         const char *what);
/* Bytes of one value of a type; 0 for strings. */
size_t plumb_gguf_value_bytes(enum plumb_gguf_type type);
