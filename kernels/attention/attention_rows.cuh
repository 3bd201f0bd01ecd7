/* The query rows of a block, and what each of them sees. */
#pragma once
#include "kernels/attention/attention_tile.cuh"

/* Query rows of a segment and kv head (all heads of the group side by side), from `first` on. */
struct attn_block {
    int32_t s, hk, first, count; /* count: rows that exist */
    int32_t q_pos;               /* path position of the segment's first query */
    int32_t begin, end;          /* path positions of the tiles that some row sees */
};

/* What the rows of a thread's fragments see. */
template <int V> struct attn_sight {
    int32_t last[attn_shape<V>::MT][2]; /* path position of the query: the last that it sees */
    int32_t low, high;                  /* path positions of the warp's first and last query */
    bool idle;                          /* none of the warp's rows exist */
};

template <int V>
PLUMB_DEVICE struct attn_block attn_block_at(const struct attn_job *j, int64_t e)
{
    typedef attn_shape<V> S;
    const struct plumb_attention_piece piece = j->t.query[e / j->Hkv];
    const struct plumb_attention_node *n = &j->t.node[piece.segment];
    struct attn_block b;
    b.s = piece.segment;
    b.hk = (int32_t)(e % j->Hkv);
    b.first = piece.first;
    b.count = min(n->q_rows - b.first, (int32_t)S::ROWS);
    b.q_pos = n->q_pos;
    const int32_t low = b.q_pos + b.first / j->G;
    b.begin = max(low - j->window + 1, 0) / S::TILE * S::TILE;
    b.end = b.q_pos + (b.first + b.count - 1) / j->G + 1;
    return b;
}

template <int V>
PLUMB_DEVICE struct attn_sight<V> attn_sight_of(const struct attn_block *b,
                                                const struct attn_job *j)
{
    typedef attn_shape<V> S;
    const int32_t row0 = threadIdx.x / 32 * 16 * S::MT, g = threadIdx.x % 32 / 4;
    struct attn_sight<V> see;
    PLUMB_UNROLL for (int m = 0; m < S::MT; m++)
        PLUMB_UNROLL for (int i = 0; i < 2; i++) {
            const int32_t row = min(row0 + 16 * m + g + 8 * i, b->count - 1);
            see.last[m][i] = b->q_pos + (b->first + row) / j->G;
        }
    see.idle = row0 >= b->count;
    see.low = b->q_pos + (b->first + row0) / j->G;
    see.high = b->q_pos + (b->first + min(row0 + 16 * S::MT, b->count) - 1) / j->G;
    return see;
}

/* Whether any of the warp's rows sees any key of the tile at pos; whether all see all. */
template <int V>
PLUMB_DEVICE bool attn_sees_any(const struct attn_sight<V> *see, int32_t pos, int32_t window)
{
    return !see->idle && pos <= see->high && pos + attn_shape<V>::TILE - 1 > see->low - window;
}
template <int V>
PLUMB_DEVICE bool attn_sees_all(const struct attn_sight<V> *see, int32_t pos, int32_t window)
{
    return pos + attn_shape<V>::TILE - 1 <= see->low && pos > see->high - window;
}

/* Whether row (m, e / 2) of the fragments sees element (n, e) of the tile at pos. */
template <int V>
PLUMB_DEVICE bool attn_sees(const struct attn_sight<V> *see, int m, int n, int e, int32_t pos,
                            int32_t window)
{
    const int32_t at = pos + 8 * n + (int32_t)threadIdx.x % 4 * 2 + e % 2;
    const int32_t last = see->last[m][e / 2];
    return at <= last && at > last - window;
}

/* Writes the places of the block's rows and of its first tile's keys; a barrier must follow. */
template <int V>
PLUMB_DEVICE void attn_place_block(struct attn_place *query, struct attn_place *key,
                                   const struct attn_block *b, const struct attn_job *j)
{
    typedef attn_shape<V> S;
    for (int i = threadIdx.x; i < S::ROWS; i += S::THREADS)
        query[i] = attn_query_place(j, &j->t.node[b->s], b->hk, b->first + i);
    attn_place_keys<V>(key, j, b->s, b->hk, b->begin, b->end);
}
