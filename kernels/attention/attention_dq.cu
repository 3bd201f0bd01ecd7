/* Backward of the attention on a device, first part: delta = rowsum(do * o) and the gradient of the
 * queries. A block takes query rows and walks the tiles of their path as the forward does, with
 * scores computed again from lse. */
#include "kernels/attention/attention_bwd.cuh"

template <int V> struct attn_dq_shared {
    typename attn_shape<V>::T *q, *d_o, *k, *v; /* from k on lies o before the first tile */
    struct attn_place *query, *key;             /* key: of the tile and of the next, by turns */
};

template <int V> PLUMB_DEVICE struct attn_dq_shared<V> attn_dq_shared_at(void *base)
{
    typedef attn_shape<V> S;
    typename S::T *const q = (typename S::T *)base, *const d_o = q + S::ROWS * S::D;
    typename S::T *const k = d_o + S::ROWS * S::D, *const v = k + S::TILE * S::D;
    struct attn_place *const query = (struct attn_place *)(void *)(k + S::PAIR * S::D);
    return { q, d_o, k, v, query, query + S::ROWS };
}

template <int V> static size_t attn_dq_bytes()
{
    typedef attn_shape<V> S;
    return (2 * S::ROWS + S::PAIR) * S::D * sizeof(typename S::T) +
           (S::ROWS + 2 * S::TILE) * sizeof(struct attn_place);
}

/* Products of 16 rows with themselves, those on the diagonal, in the order of attn_score: where a
 * row sees one key, dp - delta is exactly 0. Lane 4g+t gets those of rows g and g + 8. */
PLUMB_DEVICE void attn_fold_diagonal(const float (*c)[4], float delta[2])
{
    const int lane = threadIdx.x % 32, g = lane / 4, from = (lane & ~3) | g / 2;
    for (int i = 0; i < 2; i++) {
        const float even = __shfl_sync(~0u, c[i][2 * i], from);
        const float odd = __shfl_sync(~0u, c[i][2 * i + 1], from);
        delta[i] = g % 2 ? odd : even;
    }
}
template <int V>
PLUMB_DEVICE void attn_diagonal(const __nv_bfloat16 *a, const __nv_bfloat16 *b, float delta[2])
{
    const int lane = threadIdx.x % 32;
    float c[2][4] = { { 0 } };
    PLUMB_UNROLL for (int k = 0; k < attn_shape<V>::D / 16; k++) {
        uint32_t x[4], y[4];
        plumb_ldmatrix_x4(x, a + attn_at<V>(lane % 16, 2 * k + lane / 16));
        plumb_ldmatrix_x4(y, b + attn_at<V>(lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2));
        plumb_mma_bf16(c[0], x, y, c[0]);
        plumb_mma_bf16(c[1], x, y + 2, c[1]);
    }
    attn_fold_diagonal(c, delta);
}
template <int V> PLUMB_DEVICE void attn_diagonal(const float *a, const float *b, float delta[2])
{
    const int g = threadIdx.x % 32 / 4;
    PLUMB_UNROLL for (int i = 0; i < 2; i++) {
        float sum = 0;
        for (int k = 0; k < attn_shape<V>::CHUNKS; k++) {
            const plumb_vec<float> x = plumb_ld16(a + attn_at<V>(g + 8 * i, k));
            const plumb_vec<float> y = plumb_ld16(b + attn_at<V>(g + 8 * i, k));
            PLUMB_UNROLL for (int e = 0; e < 4; e++)
                sum = fmaf(x.v[e], y.v[e], sum);
        }
        delta[i] = sum;
    }
}

template <int V> struct attn_dq_rows {
    float lse[attn_shape<V>::MT][2], delta[attn_shape<V>::MT][2];
};

/* Reads o where k and v will lie. */
template <int V>
PLUMB_DEVICE void attn_dq_begin(struct attn_dq_rows<V> *r, const struct attn_dq_shared<V> *m,
                                const struct attn_job *j)
{
    typedef attn_shape<V> S;
    const int row0 = threadIdx.x / 32 * 16 * S::MT, g = threadIdx.x % 32 / 4;
    PLUMB_UNROLL for (int t = 0; t < S::MT; t++) {
        const int at = (row0 + 16 * t) * S::D;
        attn_diagonal<V>(m->d_o + at, m->k + at, r->delta[t]);
        PLUMB_UNROLL for (int i = 0; i < 2; i++) {
            const struct attn_place p = m->query[row0 + 16 * t + g + 8 * i];
            r->lse[t][i] = INFINITY; /* a row that does not exist has no weights */
            if (p.row < 0) continue;
            const int64_t row = (int64_t)p.row * j->Hq + p.head;
            r->lse[t][i] = j->lse[row] * j->lse_in;
            if (threadIdx.x % 4 == 0) j->t.delta[row] = r->delta[t][i];
        }
    }
}

/* Scores and gradients of probabilities become gradients of scaled products, in dp. */
template <int V>
PLUMB_DEVICE void attn_dq_slopes(const struct attn_dq_rows<V> *r, const struct attn_sight<V> *see,
                                 float (*s)[attn_shape<V>::NB][4],
                                 float (*dp)[attn_shape<V>::NB][4], int32_t pos,
                                 const struct attn_job *j)
{
    typedef attn_shape<V> S;
    const bool all = attn_sees_all<V>(see, pos, j->window);
    attn_cap<V>(s, j);
    PLUMB_UNROLL for (int m = 0; m < S::MT; m++)
        PLUMB_UNROLL for (int n = 0; n < S::NB; n++)
            PLUMB_UNROLL for (int e = 0; e < 4; e++) {
                float p = attn_weight<V>(s[m][n][e], j->factor, r->lse[m][e / 2]);
                if (!all && !attn_sees<V>(see, m, n, e, pos, j->window)) p = 0;
                dp[m][n][e] = attn_slope(j, s[m][n][e], p, dp[m][n][e], r->delta[m][e / 2]);
            }
}

template <int V>
PLUMB_DEVICE void attn_dq_walk(const struct attn_block *b, const struct attn_dq_rows<V> *r,
                               const struct attn_dq_shared<V> *m, const struct attn_job *j)
{
    typedef attn_shape<V> S;
    const int row0 = threadIdx.x / 32 * 16 * S::MT;
    const struct attn_sight<V> see = attn_sight_of<V>(b, j);
    float dq[S::MT][S::OB][4], s[S::MT][S::NB][4], dp[S::MT][S::NB][4], factor[S::MT][2];
    attn_clear<V>(dq);
    int now = 0;
    for (int32_t pos = b->begin; pos < b->end; pos += S::TILE, now = S::TILE - now) {
        const bool more = pos + S::TILE < b->end, sees = attn_sees_any<V>(&see, pos, j->window);
        struct attn_place *const next = m->key + S::TILE - now;
        plumb_cp_async_wait<0>();
        __syncthreads();
        if (more) attn_place_keys<V>(next, j, b->s, b->hk, pos + S::TILE, b->end);
        if (sees) {
            attn_score<V>(s, m->q + row0 * S::D, m->k);
            attn_score<V>(dp, m->d_o + row0 * S::D, m->v);
            attn_dq_slopes<V>(r, &see, s, dp, pos, j);
        }
        __syncthreads();
        if (more) attn_load<V>(m->v, next, S::TILE, j->v, j->ldv, j);
        if (sees) attn_add<V>(dq, dp, m->k, 0);
        __syncthreads();
        if (more) attn_load<V>(m->k, next, S::TILE, j->k, j->ldk, j);
        plumb_cp_async_commit();
    }
    if (see.idle) return;
    PLUMB_UNROLL for (int i = 0; i < 2 * S::MT; i++)
        factor[i / 2][i % 2] = j->scale;
    attn_stage<V>(m->q + row0 * S::D, 0, dq, factor);
    attn_store<V>(m->q + row0 * S::D, m->query + row0, 0, j->dq, j->ldq, j);
}

template <int V> __global__ void __launch_bounds__(attn_shape<V>::THREADS, 1)
attn_dq(const __grid_constant__ struct attn_job j)
{
    typedef attn_shape<V> S;
    PLUMB_DYN_SHARED(unsigned char, base);
    const struct attn_dq_shared<V> m = attn_dq_shared_at<V>(base);
    const int64_t e = (int64_t)j.t.pieces[0] * j.Hkv - 1 - blockIdx.x;
    if (e < 0) return;
    const struct attn_block b = attn_block_at<V>(&j, e);
    struct attn_dq_rows<V> r;
    attn_place_block<V>(m.query, m.key, &b, &j);
    __syncthreads();
    attn_load<V>(m.q, m.query, S::ROWS, j.q, j.ldq, &j);
    attn_load<V>(m.d_o, m.query, S::ROWS, j.d_o, j.ldo, &j);
    attn_load<V>(m.k, m.query, S::ROWS, j.o, j.ldo, &j);
    plumb_cp_async_commit();
    plumb_cp_async_wait<0>();
    __syncthreads();
    attn_dq_begin<V>(&r, &m, &j);
    __syncthreads();
    attn_load<V>(m.k, m.key, S::TILE, j.k, j.ldk, &j);
    attn_load<V>(m.v, m.key, S::TILE, j.v, j.ldv, &j);
    plumb_cp_async_commit();
    attn_dq_walk<V>(&b, &r, &m, &j);
}

template <int V>
static int attn_dq_run(const struct plumb_device *dev, const struct plumb_attention *a,
                       const struct attn_job *j)
{
    typedef attn_shape<V> S;
    PLUMB_ASSERT(S::ROWS == attn_bwd_rows(j, S::F32));
    const int64_t blocks = (a->N * j->G / S::ROWS + a->forest.S) * j->Hkv;
    const cudaError_t e = PLUMB_LAUNCH(attn_dq<V>, (unsigned)blocks, S::THREADS,
                                       attn_dq_bytes<V>(), plumb_gpu_stream(dev), *j);
    return plumb_gpu_status(e, "attention");
}

int plumb_attention_dq_launch(const struct plumb_device *dev, const struct plumb_attention *a,
                              const struct attn_job *j)
{
    if (a->q.dtype == PLUMB_F32) {
        if (j->K <= 32) return attn_dq_run<32 | ATTN_F32>(dev, a, j);
        if (j->K <= 64) return attn_dq_run<64 | ATTN_F32>(dev, a, j);
        if (j->K <= 96) return attn_dq_run<96 | ATTN_F32>(dev, a, j);
        if (j->K <= 128) return attn_dq_run<128 | ATTN_F32>(dev, a, j);
        return attn_dq_run<256 | ATTN_F32 | ATTN_NARROW>(dev, a, j);
    }
    if (j->K <= 32) return attn_dq_run<32 | ATTN_TWO | ATTN_NARROW>(dev, a, j);
    if (j->K <= 64) return attn_dq_run<64 | ATTN_TWO | ATTN_NARROW>(dev, a, j);
    if (j->K <= 96) return attn_dq_run<96>(dev, a, j);
    if (j->K <= 128) return attn_dq_run<128>(dev, a, j);
    return attn_dq_run<256>(dev, a, j);
}
