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

/* Whether a query at path position `last` sees the key at `at`. */
PLUMB_DEVICE bool attn_sees(int32_t last, int32_t at, int32_t window)
{
    return at <= last && at > last - window;
}

/* Writes the places of the keys of the block's i-th tile, if there is one. */
template <int V>
PLUMB_DEVICE void attn_place_keys(const struct attn_shared<V> *m, int i,
                                  const struct attn_block *b, const struct attn_job *j)
{
    const int at = threadIdx.x, pos = b->begin + i * attn_shape<V>::TILE;
    if (at >= attn_shape<V>::TILE || pos >= b->end) return;
    const int32_t row = pos + at < b->end ? attn_row_at(j->t.node, b->s, pos + at) : -1;
    m->place[attn_slot<V>(i) + at] = attn_place(row, b->hk);
}

/* Writes the places of the block's rows and of its first two tiles' keys; a barrier must follow. */
template <int V>
PLUMB_DEVICE void attn_place_block(const struct attn_shared<V> *m, const struct attn_block *b,
                                   const struct attn_job *j)
{
    typedef attn_shape<V> S;
    for (int i = threadIdx.x; i < S::ROWS; i += S::THREADS)
        m->own_place[i] = attn_query_place(j, &j->t.node[b->s], b->hk, b->first + i);
    attn_place_keys<V>(m, 0, b, j);
    attn_place_keys<V>(m, 1, b, j);
}
