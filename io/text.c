/* The growing array of token ids. */
#include <plumb/text.h>

#include <inttypes.h>
#include <stdlib.h>

int plumb_idbuf_push(struct plumb_idbuf *b, int32_t id)
{
    if (b->n == b->capacity) {
        const int64_t capacity = b->capacity ? 2 * b->capacity : 64;
        int32_t *larger = realloc(b->id, (size_t)capacity * sizeof *larger);
        if (!larger)
            return plumb_fail(PLUMB_EMEM, "could not allocate %" PRId64 " token ids", capacity);
        b->id = larger;
        b->capacity = capacity;
    }
    b->id[b->n++] = id;
    return PLUMB_OK;
}

void plumb_idbuf_release(struct plumb_idbuf *b)
{
    free(b->id);
    *b = (struct plumb_idbuf){ 0 };
}
