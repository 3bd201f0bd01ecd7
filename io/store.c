/* Growing arrays in memory or in a file. */
#include "io/store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "io/hash.h"

#define CHUNK_BYTES ((size_t)1 << 20)
#define KEPT_BYTES ((size_t)8 << 20)

int plumb_store_push(struct plumb_store *s, const void *element, int64_t count)
{
    const size_t used = plumb_store_bytes(s), more = (size_t)count * s->bytes;
    if (more == 0) return PLUMB_OK;
    if (used + more > s->room) {
        const size_t room = 2 * (used + more) + 4096;
        char *grown = realloc(s->data, room);
        if (!grown)
            return plumb_fail(PLUMB_EMEM, "could not allocate %zu bytes of a dataset's rows", room);
        s->data = grown;
        s->room = room;
    }
    memcpy(s->data + used, element, more);
    s->n += count;
    return PLUMB_OK;
}

void plumb_store_cut(struct plumb_store *s, int64_t n)
{
    PLUMB_ASSERT(n >= s->first && n <= s->n);
    s->n = n;
}

int plumb_store_spill(struct plumb_store *s, const char *path)
{
    s->path = strdup(path);
    if (!s->path) return plumb_fail(PLUMB_EMEM, "could not allocate the name \"%s\"", path);
    s->f = fopen(path, "wbe");
    if (s->f) return PLUMB_OK;
    return plumb_fail(PLUMB_EIO, "could not create \"%s\": %s", path, strerror(errno));
}

int plumb_store_flush(struct plumb_store *s)
{
    const size_t n = plumb_store_bytes(s);
    if (!s->f || n == 0) return PLUMB_OK;
    if (fwrite(s->data, 1, n, s->f) != n)
        return plumb_fail(PLUMB_EIO, "could not write \"%s\": %s", s->path, strerror(errno));
    s->first = s->n;
    if (s->room <= KEPT_BYTES) return PLUMB_OK;
    free(s->data); /* grown before there was a file */
    s->data = NULL;
    s->room = 0;
    return PLUMB_OK;
}

int plumb_store_seal(struct plumb_store *s)
{
    if (!s->f) return PLUMB_OK;
    PLUMB_TRY(plumb_store_flush(s));
    const int closed = fclose(s->f);
    s->f = NULL;
    if (closed != 0)
        return plumb_fail(PLUMB_EIO, "could not write \"%s\": %s", s->path, strerror(errno));
    free(s->data);
    s->data = NULL;
    s->room = 0;
    return plumb_store_open(s, s->path, s->n);
}

int plumb_store_open(struct plumb_store *s, const char *path, int64_t n)
{
    PLUMB_TRY(plumb_map_open(&s->map, path));
    if (n < 0 || s->map.bytes / s->bytes != (size_t)n || s->map.bytes % s->bytes)
        return plumb_fail(PLUMB_EFORMAT,
                          "\"%s\" is damaged: %zu bytes are not %" PRId64 " elements", path,
                          s->map.bytes, n);
    s->data = (char *)s->map.data; /* never written again */
    s->n = n;
    s->first = 0;
    return PLUMB_OK;
}

void plumb_store_forget(const struct plumb_store *s)
{
    plumb_map_forget(s->map.data, s->map.bytes);
}

uint64_t plumb_store_hash(const struct plumb_store *s)
{
    const size_t n = plumb_store_bytes(s);
    uint64_t h = plumb_hash(PLUMB_HASH_START, &s->n, sizeof s->n);
    for (size_t at = 0; at < n; at += CHUNK_BYTES) {
        const size_t part = n - at < CHUNK_BYTES ? n - at : CHUNK_BYTES;
        h = plumb_hash(h, s->data + at, part);
        if (s->map.data) plumb_map_forget(s->data + at, part);
    }
    return h;
}

void plumb_store_release(struct plumb_store *s)
{
    if (s->f) fclose(s->f);
    if (s->map.data)
        plumb_map_release(&s->map);
    else
        free(s->data);
    free(s->path);
    *s = (struct plumb_store){ 0 };
}
