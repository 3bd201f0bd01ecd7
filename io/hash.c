/* Hashes of contents. */
#include "io/hash.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES ((size_t)1 << 18)

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9e3779b97f4a7c15u;
    return h ^ (h >> 32);
}

uint64_t plumb_hash(uint64_t h, const void *data, size_t n)
{
    const char *p = data;
    uint64_t v;
    for (; n >= sizeof v; p += sizeof v, n -= sizeof v) {
        memcpy(&v, p, sizeof v);
        h = mix(h, v);
    }
    if (n == 0) return h;
    v = 0;
    memcpy(&v, p, n);
    return mix(h, v ^ (uint64_t)n << 56);
}

int plumb_hash_file(uint64_t *h, const char *path)
{
    FILE *f = fopen(path, "rbe");
    if (!f) return plumb_fail(PLUMB_EIO, "could not open \"%s\": %s", path, strerror(errno));
    char *chunk = malloc(CHUNK_BYTES);
    size_t n = chunk ? CHUNK_BYTES : 0;
    while (n == CHUNK_BYTES) {
        n = fread(chunk, 1, CHUNK_BYTES, f);
        *h = plumb_hash(*h, chunk, n);
    }
    const int rc = !chunk ? plumb_fail(PLUMB_EMEM, "could not allocate a buffer for \"%s\"", path)
                   : ferror(f)
                       ? plumb_fail(PLUMB_EIO, "could not read \"%s\": %s", path, strerror(errno))
                       : PLUMB_OK;
    free(chunk);
    fclose(f);
    return rc;
}
