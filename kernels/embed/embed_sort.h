/* Scratch of the embedding's backward on a device: two lists of (key, row), sorted by turns, and
 * how often each digit occurs in each tile. */
#pragma once
#include <plumb/base.h>

#define PLUMB_EMBED_MOST INT32_MAX /* rows, ids: keys and rows are sorted as 32 bits */
enum { PLUMB_EMBED_TILE = 4096, PLUMB_EMBED_DIGIT = 9, PLUMB_EMBED_BINS = 512 };

static inline int64_t plumb_embed_tiles(int64_t N)
{
    return (N + PLUMB_EMBED_TILE - 1) / PLUMB_EMBED_TILE;
}

static inline size_t plumb_embed_sort_bytes(int64_t N)
{
    return (size_t)(4 * N + plumb_embed_tiles(N) * PLUMB_EMBED_BINS) * sizeof(uint32_t);
}
