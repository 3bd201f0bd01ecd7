/* Backward of the attention on a device, second part: the gradients of keys and values. A block
 * takes key rows of one segment and walks past it the queries that see them: its own segment's,
 * then those of its descendants, children in index order; heads of the group side by side. Scores
 * are computed transposed, so that keys are the rows of all fragments. */
#include "kernels/attention/attention_bwd.cuh"

/* Queries of a tile as columns. */
struct attn_columns {
    struct attn_place *place;
    float *lse, *delta;
    int32_t *pos; /* path positions */
};

template <int V> struct attn_dkv_shared {
    typename attn_shape<V>::T *k, *v, *q, *d_o;
    struct attn_place *key;
    struct attn_columns column; /* of the tile and of the next, by turns */
};

template <int V> PLUMB_DEVICE struct attn_dkv_shared<V> attn_dkv_shared_at(void *base)
{
    typedef attn_shape<V> S;
    typename S::T *const k = (typename S::T *)base, *const v = k + S::ROWS * S::D;
    typename S::T *const q = v + S::ROWS * S::D, *const d_o = q + S::TILE * S::D;
    struct attn_place *const key = (struct attn_place *)(void *)(d_o + S::TILE * S::D);
    struct attn_place *const place = key + S::ROWS;
    float *const lse = (float *)(void *)(place + 2 * S::TILE), *const delta = lse + 2 * S::TILE;
    int32_t *const pos = (int32_t *)(void *)(delta + 2 * S::TILE);
    return { k, v, q, d_o, key, { place, lse, delta, pos } };
}

template <int V> static size_t attn_dkv_bytes()
{
    typedef attn_shape<V> S;
    return 2 * (S::ROWS + S::TILE) * S::D * sizeof(typename S::T) +
           S::ROWS * sizeof(struct attn_place) +
           2 * S::TILE * (sizeof(struct attn_place) + 2 * sizeof(float) + sizeof(int32_t));
}

/* The block's keys, at path positions [pos, end). */
struct attn_keys {
    int32_t c, hk, pos, end;
};

/* A tile of queries: those from flattened row r on of segment s; s = -1 past the last. */
struct attn_visit {
    int32_t s, r;
};

/* The segment after s in the subtree of c, children in index order, depth first; or -1. */
PLUMB_DEVICE int32_t attn_after(const struct plumb_attention_node *node, int32_t c, int32_t s)
{
    if (node[s].child >= 0) return node[s].child;
    while (s != c && node[s].sibling < 0)
        s = node[s].parent;
    return s == c ? -1 : node[s].sibling;
}

/* Goes on to the next tile whose first query may see a key, from the present one on. */
PLUMB_DEVICE void attn_settle(struct attn_visit *at, const struct attn_keys *b,
                              const struct attn_job *j)
{
    while (at->s >= 0) {
        const struct plumb_attention_node *n = &j->t.node[at->s];
        if (at->r < n->q_rows && n->own + at->r / j->G - j->window < b->end - 1) return;
        at->s = attn_after(j->t.node, b->c, at->s);
        at->r = 0;
    }
}

template <int V>
PLUMB_DEVICE void attn_place_columns(const struct attn_columns *c, int half,
                                     const struct attn_visit *at, int32_t hk,
                                     const struct attn_job *j)
{
    const int i = threadIdx.x, to = half + i;
    if (i >= attn_shape<V>::TILE) return;
    const struct plumb_attention_node *n = &j->t.node[at->s];
    const struct attn_place p = attn_query_place(j, n, hk, at->r + i);
    const int64_t row = (int64_t)p.row * j->Hq + p.head;
    c->place[to] = p;
    c->lse[to] = p.row < 0 ? INFINITY : j->lse[row] * j->lse_in; /* no row has no weights */
    c->delta[to] = p.row < 0 ? 0.0f : j->t.delta[row];
    c->pos[to] = n->own + min(at->r + i, n->q_rows - 1) / j->G;
}

/* What the warp's keys are seen by. */
template <int V> struct attn_span {
    int32_t first, last; /* path positions of its keys */
    int32_t own;         /* of the key of row g of the fragments */
    bool idle;           /* none exists */
};

/* Scores become probabilities, in s, and gradients of scaled products, in dp. */
template <int V>
PLUMB_DEVICE void attn_dkv_slopes(const struct attn_span<V> *see, const struct attn_columns *c,
                                  int half, float (*s)[attn_shape<V>::NB][4],
                                  float (*dp)[attn_shape<V>::NB][4], const struct attn_job *j)
{
    typedef attn_shape<V> S;
    const bool all = c->pos[half] >= see->last &&
                     c->pos[half + S::TILE - 1] - j->window < see->first;
    attn_cap<V>(s, j);
    PLUMB_UNROLL for (int n = 0; n < S::NB; n++) {
        const int at = half + 8 * n + threadIdx.x % 4 * 2;
        const float2 lse = *reinterpret_cast<const float2 *>(c->lse + at);
        const float2 delta = *reinterpret_cast<const float2 *>(c->delta + at);
        const int2 pos = *reinterpret_cast<const int2 *>(c->pos + at);
        PLUMB_UNROLL for (int m = 0; m < S::MT; m++)
            PLUMB_UNROLL for (int e = 0; e < 4; e++) {
                const int32_t key = see->own + 16 * m + e / 2 * 8, query = e % 2 ? pos.y : pos.x;
                float p = attn_weight<V>(s[m][n][e], j->factor, e % 2 ? lse.y : lse.x);
                if (!all && (key > query || key <= query - j->window)) p = 0;
                dp[m][n][e] = attn_slope(j, s[m][n][e], p, dp[m][n][e],
                                         e % 2 ? delta.y : delta.x);
                s[m][n][e] = p;
            }
    }
}

template <int V>
PLUMB_DEVICE void attn_dkv_end(float (*dk)[attn_shape<V>::OB][4],
                               float (*dv)[attn_shape<V>::OB][4], int chunk0,
                               const struct attn_dkv_shared<V> *m, const struct attn_job *j)
{
    typedef attn_shape<V> S;
    const int row0 = threadIdx.x / 32 * 16 * S::MT;
    float factor[S::MT][2];
    PLUMB_UNROLL for (int i = 0; i < 2 * S::MT; i++)
        factor[i / 2][i % 2] = j->scale;
    attn_stage<V>(m->k + row0 * S::D, chunk0, dk, factor);
    attn_store<V>(m->k + row0 * S::D, m->key + row0, chunk0, j->dk, j->ldk, j);
    PLUMB_UNROLL for (int i = 0; i < 2 * S::MT; i++)
        factor[i / 2][i % 2] = 1;
    attn_stage<V>(m->v + row0 * S::D, chunk0, dv, factor);
    attn_store<V>(m->v + row0 * S::D, m->key + row0, chunk0, j->dv, j->ldv, j);
}

template <int V>
PLUMB_DEVICE void attn_dkv_walk(const struct attn_keys *b, struct attn_visit now,
                                const struct attn_dkv_shared<V> *m, const struct attn_job *j)
{
    typedef attn_shape<V> S;
    const int row0 = threadIdx.x / 32 * 16 * S::MT, g = threadIdx.x % 32 / 4;
    const int chunk0 = (int)blockIdx.y * S::COLS / S::CHUNK;
    const struct attn_span<V> see = { b->pos + row0, min(b->pos + row0 + 16 * S::MT, b->end) - 1,
                                      b->pos + row0 + g, b->pos + row0 >= b->end };
    float dk[S::MT][S::OB][4], dv[S::MT][S::OB][4], s[S::MT][S::NB][4], dp[S::MT][S::NB][4];
    attn_clear<V>(dk);
    attn_clear<V>(dv);
    for (int half = 0; now.s >= 0; half = S::TILE - half) {
        struct attn_visit next = { now.s, now.r + S::TILE };
        const int other = S::TILE - half;
        attn_settle(&next, b, j);
        plumb_cp_async_wait<0>();
        __syncthreads();
        if (next.s >= 0) attn_place_columns<V>(&m->column, other, &next, b->hk, j);
        const bool sees = !see.idle && m->column.pos[half + S::TILE - 1] >= see.first &&
                          m->column.pos[half] - j->window < see.last;
        if (sees) {
            attn_score<V>(s, m->k + row0 * S::D, m->q);
            attn_score<V>(dp, m->v + row0 * S::D, m->d_o);
            attn_dkv_slopes<V>(&see, &m->column, half, s, dp, j);
            attn_add<V>(dv, s, m->d_o, chunk0);
        }
        __syncthreads();
        if (next.s >= 0) attn_load<V>(m->d_o, m->column.place + other, S::TILE, j->d_o, j->ldo, j);
        if (sees) attn_add<V>(dk, dp, m->q, chunk0);
        __syncthreads();
        if (next.s >= 0) attn_load<V>(m->q, m->column.place + other, S::TILE, j->q, j->ldq, j);
        plumb_cp_async_commit();
        now = next;
    }
    if (!see.idle) attn_dkv_end<V>(dk, dv, chunk0, m, j);
}

template <int V> __global__ void __launch_bounds__(attn_shape<V>::THREADS, 1)
attn_dkv(const __grid_constant__ struct attn_job j)
{
    typedef attn_shape<V> S;
    PLUMB_DYN_SHARED(unsigned char, base);
    const struct attn_dkv_shared<V> m = attn_dkv_shared_at<V>(base);
    if (blockIdx.x >= (int64_t)j.t.pieces[1] * j.Hkv) return;
    const struct plumb_attention_piece piece = j.t.key[blockIdx.x / j.Hkv];
    const struct plumb_attention_node *n = &j.t.node[piece.segment];
    const int32_t pos = n->own + piece.first, end = min(pos + S::ROWS, n->own + n->length);
    const struct attn_keys b = { piece.segment, (int32_t)(blockIdx.x % j.Hkv), pos, end };
    struct attn_visit now = { b.c, piece.first * j.G / S::TILE * S::TILE };
    attn_settle(&now, &b, &j); /* a key sees itself: there is a first tile */
    for (int i = threadIdx.x; i < S::ROWS; i += S::THREADS)
        m.key[i] = attn_place{ pos + i < end ? pos + i + n->shift : -1, b.hk };
    attn_place_columns<V>(&m.column, 0, &now, b.hk, &j);
    __syncthreads();
    attn_load<V>(m.k, m.key, S::ROWS, j.k, j.ldk, &j);
    attn_load<V>(m.v, m.key, S::ROWS, j.v, j.ldv, &j);
    attn_load<V>(m.q, m.column.place, S::TILE, j.q, j.ldq, &j);
    attn_load<V>(m.d_o, m.column.place, S::TILE, j.d_o, j.ldo, &j);
    plumb_cp_async_commit();
    attn_dkv_walk<V>(&b, now, &m, &j);
}

template <int V>
static int attn_dkv_run(const struct plumb_device *dev, const struct plumb_attention *a,
                        const struct attn_job *j)
{
    typedef attn_shape<V> S;
    PLUMB_ASSERT(S::ROWS == attn_bwd_rows(j, S::F32));
    const int64_t blocks = (a->N / S::ROWS + a->forest.S) * j->Hkv;
    const dim3 grid((unsigned)blocks, S::D / S::COLS);
    const cudaError_t e = PLUMB_LAUNCH(attn_dkv<V>, grid, S::THREADS, attn_dkv_bytes<V>(),
                                       plumb_gpu_stream(dev), *j);
    return plumb_gpu_status(e, "attention");
}

int plumb_attention_dkv_launch(const struct plumb_device *dev, const struct plumb_attention *a,
                               const struct attn_job *j)
{
    if (a->q.dtype == PLUMB_F32) {
        if (j->K <= 32) return attn_dkv_run<32 | ATTN_F32>(dev, a, j);
        if (j->K <= 64) return attn_dkv_run<64 | ATTN_F32>(dev, a, j);
        if (j->K <= 96) return attn_dkv_run<96 | ATTN_F32>(dev, a, j);
        if (j->K <= 128) return attn_dkv_run<128 | ATTN_F32 | ATTN_NARROW>(dev, a, j);
        return attn_dkv_run<256 | ATTN_F32 | ATTN_HALF | ATTN_NARROW>(dev, a, j);
    }
    if (j->K <= 32) return attn_dkv_run<32 | ATTN_TWO | ATTN_NARROW>(dev, a, j);
    if (j->K <= 64) return attn_dkv_run<64 | ATTN_TWO | ATTN_NARROW>(dev, a, j);
    if (j->K <= 96) return attn_dkv_run<96>(dev, a, j);
    if (j->K <= 128) return attn_dkv_run<128 | ATTN_NARROW>(dev, a, j);
    return attn_dkv_run<256 | ATTN_HALF>(dev, a, j);
}

static int attention_bwd(const struct plumb_device *dev, const struct plumb_attention *a)
{
    struct attn_job j;
    PLUMB_TRY(attn_describe(a, true, &j));
    if (a->N == 0 || a->forest.S == 0) return PLUMB_OK;
    const int rows = attn_bwd_rows(&j, a->q.dtype == PLUMB_F32);
    PLUMB_TRY(plumb_attention_plan_launch(dev, a, &j.t, rows, rows, true));
    PLUMB_TRY(plumb_attention_dq_launch(dev, a, &j));
    return plumb_attention_dkv_launch(dev, a, &j);
}
PLUMB_GPU_OP(attention_bwd, plumb_attention);
