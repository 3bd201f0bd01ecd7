/* A 64-bit hash that tells contents apart, at the speed of memory. Not against forgers. */
#pragma once
#include <plumb/base.h>

#define PLUMB_HASH_START 14695981039346656037u
/* Goes on from h; the result depends on how the bytes are cut into calls, unless all but the last
 * have a multiple of eight. */
uint64_t plumb_hash(uint64_t h, const void *data, size_t n);
/* The same over the bytes of a file as they lie on disk. Fails with PLUMB_EIO. */
int plumb_hash_file(uint64_t *h, const char *path);
