/* Backward of the attention on a device, second part: the gradients of keys and values. A block
 * takes key rows of one segment and walks past it the queries that see them: its own segment's,
 * then those of its descendants, children in index order; heads of the group side by side. Scores
 * are computed transposed, so that keys are the rows of all fragments. */
#include "kernels/attention/attention_bwd.cuh"

/* Queries of three tiles as columns, beside their places. */
struct attn_columns {
    float *lse, *delta;
    int32_t *pos; /* path positions */
};

template <int V> PLUMB_DEVICE struct attn_columns attn_columns_at(const struct attn_shared<V> *m)
{
    enum { COUNT = 3 * attn_shape<V>::TILE };
    float *const lse = (float *)(void *)(m->place + COUNT);
    return { lse, lse + COUNT, (int32_t *)(void *)(lse + 2 * COUNT) };
}
template <int V> static size_t attn_dkv_bytes()
{
    return attn_shared_bytes<V>(2) + 3 * attn_shape<V>::TILE * 3 * sizeof(float);
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

/* Writes what belongs to the i-th tile, if there is one, and takes `at` past it. */
template <int V>
PLUMB_DEVICE void attn_place_columns(const struct attn_shared<V> *m, const struct attn_columns *c,
                                     int i, struct attn_visit *at, const struct attn_keys *b,
                                     const struct attn_job *j)
{
    const int r = at->r + (int)threadIdx.x, to = attn_slot<V>(i) + (int)threadIdx.x;
    if (at->s < 0) return;
    if (threadIdx.x < attn_shape<V>::TILE) {
        const struct plumb_attention_node *n = &j->t.node[at->s];
        const uint64_t place = attn_query_place(j, n, b->hk, r);
        const int64_t row = attn_offset(place, j->Hq, 1);
        const bool here = attn_row_of(place) >= 0;
        m->place[to] = place;
        c->lse[to] = here ? j->lse[row] * j->lse_in : INFINITY; /* no row has no weights */
        c->delta[to] = here ? j->t.delta[row] : 0.0f;
        c->pos[to] = n->own + min(r, n->q_rows - 1) / j->G;
    }
    at->r += attn_shape<V>::TILE;
    attn_settle(at, b, j);
}

/* The tile's queries lie at path positions [first, last] of the columns; whether any of them sees
 * any of the warp's keys, from path position `key` on; whether all see all of its room. */
template <int V>
PLUMB_DEVICE bool attn_dkv_any(const struct attn_columns *c, int slot, const struct attn_keys *b,
                               int32_t key, int32_t window)
{
    typedef attn_shape<V> S;
    const int32_t end = min(key + 16 * S::MT, b->end);
    return key < end && c->pos[slot + S::TILE - 1] >= key && c->pos[slot] - window < end - 1;
}
template <int V>
PLUMB_DEVICE bool attn_dkv_all(const struct attn_columns *c, int slot, int32_t key, int32_t window)
{
    typedef attn_shape<V> S;
    return c->pos[slot] >= key + 16 * S::MT - 1 && c->pos[slot + S::TILE - 1] - window < key;
}

/* Scores become probabilities, in s, and gradients of scaled products, in dp. */
template <int V>
PLUMB_DEVICE void attn_dkv_slopes(int32_t first, const struct attn_columns *c, int slot,
                                  float (*s)[attn_shape<V>::NB][4],
                                  float (*dp)[attn_shape<V>::NB][4], const struct attn_job *j)
{
    typedef attn_shape<V> S;
    const bool all = attn_dkv_all<V>(c, slot, first, j->window);
    const int32_t own = first + threadIdx.x % 32 / 4;
    attn_cap<V>(s, j);
    PLUMB_UNROLL for (int n = 0; n < S::NB; n++) {
        const int at = slot + 8 * n + threadIdx.x % 4 * 2;
        const float2 lse = *reinterpret_cast<const float2 *>(c->lse + at);
        const float2 delta = *reinterpret_cast<const float2 *>(c->delta + at);
        const int2 pos = *reinterpret_cast<const int2 *>(c->pos + at);
        PLUMB_UNROLL for (int m = 0; m < S::MT; m++)
            PLUMB_UNROLL for (int e = 0; e < 4; e++) {
                const int32_t key = own + 16 * m + e / 2 * 8, query = e % 2 ? pos.y : pos.x;
                float p = attn_weight<V>(s[m][n][e], j->factor, e % 2 ? lse.y : lse.x);
                if (!all && !attn_sees(query, key, j->window)) p = 0;
                dp[m][n][e] = attn_slope(j, s[m][n][e], p, dp[m][n][e],
                                         e % 2 ? delta.y : delta.x);
                s[m][n][e] = p;
            }
    }
}

template <int V>
PLUMB_DEVICE void attn_dkv_end(float (*dk)[attn_shape<V>::OB][4],
                               float (*dv)[attn_shape<V>::OB][4], int chunk0,
                               const struct attn_shared<V> *m, const struct attn_job *j)
{
    typedef attn_shape<V> S;
    const int row0 = threadIdx.x / 32 * 16 * S::MT;
    typename S::T *const k = m->own + row0 * S::D, *const v = k + S::ROWS * S::D;
    float factor[S::MT][2];
    PLUMB_UNROLL for (int i = 0; i < 2 * S::MT; i++)
        factor[i / 2][i % 2] = j->scale;
    attn_stage<V>(k, chunk0, dk, factor);
    attn_store<V>(k, m->own_place + row0, chunk0, j->dk, j->ldk, j);
    PLUMB_UNROLL for (int i = 0; i < 2 * S::MT; i++)
        factor[i / 2][i % 2] = 1;
    attn_stage<V>(v, chunk0, dv, factor);
    attn_store<V>(v, m->own_place + row0, chunk0, j->dv, j->ldv, j);
}

/* The first of `tiles` tiles is on its way, `at` is past the second; more are found in time. */
template <int V>
PLUMB_DEVICE void attn_dkv_walk(const struct attn_keys *b, struct attn_visit at, int tiles,
                                const struct attn_shared<V> *m, const struct attn_job *j)
{
    typedef attn_shape<V> S;
    const int32_t key = b->pos + threadIdx.x / 32 * 16 * S::MT;
    const typename S::T *const k = m->own + threadIdx.x / 32 * 16 * S::MT * S::D;
    const int chunk0 = V & ATTN_HALF ? (int)blockIdx.y * S::COLS / S::CHUNK : 0;
    const struct attn_columns c = attn_columns_at<V>(m);
    float dk[S::MT][S::OB][4], dv[S::MT][S::OB][4], s[S::MT][S::NB][4], dp[S::MT][S::NB][4];
    attn_clear<V>(dk);
    attn_clear<V>(dv);
    for (int i = 0; i < tiles; i++) {
        attn_await_pair();
        if (i + 1 < tiles) attn_load_pair<V>(m, i + 1, j->q, j->ldq, j->d_o, j->ldo, j);
        tiles += at.s >= 0;
        attn_place_columns<V>(m, &c, i + 2, &at, b, j);
        const int slot = attn_slot<V>(i);
        if (!attn_dkv_any<V>(&c, slot, b, key, j->window)) continue;
        const typename S::T *const q = attn_tile<V>(m, i), *const d_o = q + S::TILE * S::D;
        attn_score<V>(s, k, q);
        attn_score<V>(dp, k + S::ROWS * S::D, d_o);
        attn_dkv_slopes<V>(key, &c, slot, s, dp, j);
        attn_add<V>(dv, s, d_o, chunk0);
        attn_add<V>(dk, dp, q, chunk0);
    }
    if (key < b->end) attn_dkv_end<V>(dk, dv, chunk0, m, j);
}

template <int V> __global__ void __launch_bounds__(attn_shape<V>::THREADS, 1)
attn_dkv(const __grid_constant__ struct attn_job j)
{
    typedef attn_shape<V> S;
    PLUMB_DYN_SHARED(unsigned char, base);
    const struct attn_shared<V> m = attn_shared_at<V>(base, 2);
    const struct attn_columns c = attn_columns_at<V>(&m);
    if (blockIdx.x >= (int64_t)j.t.pieces[1] * j.Hkv) return;
    const struct plumb_attention_piece piece = j.t.key[blockIdx.x / j.Hkv];
    const struct plumb_attention_node *n = &j.t.node[piece.segment];
    const int32_t pos = n->own + piece.first, end = min(pos + S::ROWS, n->own + n->length);
    const struct attn_keys b = { piece.segment, (int32_t)(blockIdx.x % j.Hkv), pos, end };
    for (int i = threadIdx.x; i < S::ROWS; i += S::THREADS)
        m.own_place[i] = attn_place(pos + i < end ? pos + i + n->shift : -1, b.hk);
    struct attn_visit at = { b.c, piece.first * j.G / S::TILE * S::TILE };
    attn_settle(&at, &b, &j); /* a key sees itself: there is a first tile */
    attn_place_columns<V>(&m, &c, 0, &at, &b, &j);
    const int tiles = at.s >= 0 ? 2 : 1;
    attn_place_columns<V>(&m, &c, 1, &at, &b, &j);
    __syncthreads();
    attn_load<V>(m.own, m.own_place, S::ROWS, j.k, j.ldk, &j);
    attn_load<V>(m.own + S::ROWS * S::D, m.own_place, S::ROWS, j.v, j.ldv, &j);
    attn_load_pair<V>(&m, 0, j.q, j.ldq, j.d_o, j.ldo, &j);
    attn_dkv_walk<V>(&b, at, tiles, &m, &j);
}

template <int V>
static int attn_dkv_run(const struct plumb_device *dev, const struct plumb_attention *a,
                        const struct attn_job *j)
{
    typedef attn_shape<V> S;
    PLUMB_ASSERT(S::ROWS == attn_key_step(j, S::F32));
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
        if (j->K <= 32) return attn_dkv_run<32 | ATTN_F32 | ATTN_NARROW>(dev, a, j);
        if (j->K <= 64) return attn_dkv_run<64 | ATTN_F32 | ATTN_NARROW>(dev, a, j);
        if (j->K <= 96) return attn_dkv_run<96 | ATTN_F32 | ATTN_NARROW>(dev, a, j);
        if (j->K <= 128) return attn_dkv_run<128 | ATTN_F32 | ATTN_NARROW>(dev, a, j);
        return attn_dkv_run<256 | ATTN_F32 | ATTN_HALF | ATTN_NARROW>(dev, a, j);
    }
    if (j->K <= 32) return attn_dkv_run<32 | ATTN_NARROW>(dev, a, j);
    if (j->K <= 64) return attn_dkv_run<64 | ATTN_NARROW>(dev, a, j);
    if (j->K <= 96) return attn_dkv_run<96 | ATTN_NARROW>(dev, a, j);
    if (j->K <= 128) return attn_dkv_run<128 | ATTN_NARROW>(dev, a, j);
    return attn_dkv_run<256 | ATTN_HALF | ATTN_NARROW>(dev, a, j);
}

static int attention_bwd(const struct plumb_device *dev, const struct plumb_attention *a)
{
    struct attn_job j;
    PLUMB_TRY(attn_describe(a, true, &j));
    if (a->N == 0 || a->forest.S == 0) return PLUMB_OK;
    const bool f32 = a->q.dtype == PLUMB_F32;
    PLUMB_TRY(plumb_attention_plan_launch(dev, a, &j.t, attn_query_step(&j, f32),
                                          attn_key_step(&j, f32), true));
    PLUMB_TRY(plumb_attention_dq_launch(dev, a, &j));
    return plumb_attention_dkv_launch(dev, a, &j);
}
PLUMB_GPU_OP(attention_bwd, plumb_attention);
