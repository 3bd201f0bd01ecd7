/* A growing array of equal elements: in memory, or in a file that is mapped once it is complete. */
#pragma once
#include "io/file.h"

struct plumb_store {
    size_t bytes;  /* of an element; set before the first push */
    int64_t n;     /* elements */
    char *data;    /* elements [first, n); all of them once sealed */
    int64_t first; /* elements that are in the file alone */
    size_t room;   /* bytes at data, while it grows */
    FILE *f;       /* NULL = in memory, or sealed */
    char *path;
    struct plumb_map map;
};

int plumb_store_push(struct plumb_store *s, const void *element, int64_t count);
/* Takes back all but the first n elements; they must not have been flushed. */
void plumb_store_cut(struct plumb_store *s, int64_t n);
/* From now on the elements go to a new file. */
int plumb_store_spill(struct plumb_store *s, const char *path);
/* With a file: writes what is in memory to it. */
int plumb_store_flush(struct plumb_store *s);
/* No more pushes: a file is mapped. How it stands after a power cut is not cared for, as who opens
 * it again looks at a hash. */
int plumb_store_seal(struct plumb_store *s);
/* Maps a file of n elements. Fails with PLUMB_EFORMAT when it has another size. */
int plumb_store_open(struct plumb_store *s, const char *path, int64_t n);
/* Drops mapped pages from memory; pointers stay valid. */
void plumb_store_forget(const struct plumb_store *s);
/* Once sealed; the pages that it reads do not stay in memory. */
uint64_t plumb_store_hash(const struct plumb_store *s);
void plumb_store_release(struct plumb_store *s); /* takes a zeroed one; leaves it zeroed */

static inline size_t plumb_store_bytes(const struct plumb_store *s)
{
    return (size_t)(s->n - s->first) * s->bytes;
}
