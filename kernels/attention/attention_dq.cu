/* Backward of the attention on a device, first part: delta = rowsum(do * o) and the gradient of the
 * queries. A block takes query rows and walks the tiles of their path as the forward does, with
 * scores computed again from lse. */
#include "kernels/attention/attention_bwd.cuh"

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

/* Reads o where the first tiles will lie. */
template <int V>
PLUMB_DEVICE void attn_dq_begin(struct attn_dq_rows<V> *r, const struct attn_shared<V> *m,
                                const struct attn_job *j)
{
    typedef attn_shape<V> S;
    const int row0 = threadIdx.x / 32 * 16 * S::MT, g = threadIdx.x % 32 / 4;
    PLUMB_UNROLL for (int t = 0; t < S::MT; t++) {
        const int first = (row0 + 16 * t) * S::D;
        attn_diagonal<V>(m->own + S::ROWS * S::D + first, m->tile + first, r->delta[t]);
        PLUMB_UNROLL for (int i = 0; i < 2; i++) {
            const uint64_t at = m->own_place[row0 + 16 * t + g + 8 * i];
            r->lse[t][i] = INFINITY; /* a row that does not exist has no weights */
            if (attn_row_of(at) < 0) continue;
            const int64_t row = attn_offset(at, j->Hq, 1);
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
    const int32_t first = pos + (int32_t)threadIdx.x % 4 * 2;
    attn_cap<V>(s, j);
    PLUMB_UNROLL for (int m = 0; m < S::MT; m++)
        PLUMB_UNROLL for (int n = 0; n < S::NB; n++)
            PLUMB_UNROLL for (int e = 0; e < 4; e++) {
                float p = attn_weight<V>(s[m][n][e], j->factor, r->lse[m][e / 2]);
                const int32_t at = first + 8 * n + e % 2;
                if (!all && !attn_sees(see->last[m][e / 2], at, j->window)) p = 0;
                dp[m][n][e] = attn_slope(j, s[m][n][e], p, dp[m][n][e], r->delta[m][e / 2]);
            }
}

template <int V>
PLUMB_DEVICE void attn_dq_walk(const struct attn_block *b, const struct attn_dq_rows<V> *r,
                               const struct attn_shared<V> *m, const struct attn_job *j)
{
    typedef attn_shape<V> S;
    typename S::T *const q = m->own + threadIdx.x / 32 * 16 * S::MT * S::D;
    const struct attn_sight<V> see = attn_sight_of<V>(b, j);
    float dq[S::MT][S::OB][4], s[S::MT][S::NB][4], dp[S::MT][S::NB][4], factor[S::MT][2];
    attn_clear<V>(dq);
    for (int32_t pos = b->begin, i = 0; pos < b->end; pos += S::TILE, i++) {
        attn_await_pair();
        if (pos + S::TILE < b->end) attn_load_pair<V>(m, i + 1, j->k, j->ldk, j->v, j->ldv, j);
        attn_place_keys<V>(m, i + 2, b, j);
        if (!attn_sees_any<V>(&see, pos, j->window)) continue;
        const typename S::T *const k = attn_tile<V>(m, i);
        attn_score<V>(s, q, k);
        attn_score<V>(dp, q + S::ROWS * S::D, k + S::TILE * S::D);
        attn_dq_slopes<V>(r, &see, s, dp, pos, j);
        attn_add<V>(dq, dp, k, 0);
    }
    if (see.idle) return;
    PLUMB_UNROLL for (int i = 0; i < 2 * S::MT; i++)
        factor[i / 2][i % 2] = j->scale;
    attn_stage<V>(q, 0, dq, factor);
    attn_store<V>(q, m->own_place + threadIdx.x / 32 * 16 * S::MT, 0, j->dq, j->ldq, j);
}

template <int V> __global__ void __launch_bounds__(attn_shape<V>::THREADS, 1)
attn_dq(const __grid_constant__ struct attn_job j)
{
    typedef attn_shape<V> S;
    static_assert((int)S::ROWS <= 4 * (int)S::TILE, "o does not fit where the first tiles lie");
    PLUMB_DYN_SHARED(unsigned char, base);
    const struct attn_shared<V> m = attn_shared_at<V>(base, 2);
    const int64_t e = (int64_t)j.t.pieces[0] * j.Hkv - 1 - blockIdx.x;
    if (e < 0) return;
    const struct attn_block b = attn_block_at<V>(&j, e);
    struct attn_dq_rows<V> r;
    attn_place_block<V>(&m, &b, &j);
    __syncthreads();
    attn_load<V>(m.own, m.own_place, S::ROWS, j.q, j.ldq, &j);
    attn_load<V>(m.own + S::ROWS * S::D, m.own_place, S::ROWS, j.d_o, j.ldo, &j);
    attn_load<V>(m.tile, m.own_place, S::ROWS, j.o, j.ldo, &j);
    plumb_cp_async_commit();
    attn_await_pair();
    attn_dq_begin<V>(&r, &m, &j);
    __syncthreads();
    attn_load_pair<V>(&m, 0, j.k, j.ldk, j.v, j.ldv, &j);
    attn_dq_walk<V>(&b, &r, &m, &j);
}

template <int V>
static int attn_dq_run(const struct plumb_device *dev, const struct plumb_attention *a,
                       const struct attn_job *j)
{
    typedef attn_shape<V> S;
    PLUMB_ASSERT(S::ROWS == attn_query_step(j, S::F32));
    const int64_t blocks = (a->N * j->G / S::ROWS + a->forest.S) * j->Hkv;
    const cudaError_t e = PLUMB_LAUNCH(attn_dq<V>, (unsigned)blocks, S::THREADS,
                                       attn_shared_bytes<V>(2), plumb_gpu_stream(dev), *j);
    return plumb_gpu_status(e, "attention");
}

int plumb_attention_dq_launch(const struct plumb_device *dev, const struct plumb_attention *a,
                              const struct attn_job *j)
{
    if (a->q.dtype == PLUMB_F32) {
        if (j->K <= 32) return attn_dq_run<32 | ATTN_F32 | ATTN_NARROW>(dev, a, j);
        if (j->K <= 64) return attn_dq_run<64 | ATTN_F32 | ATTN_NARROW>(dev, a, j);
        if (j->K <= 96) return attn_dq_run<96 | ATTN_F32 | ATTN_NARROW>(dev, a, j);
        if (j->K <= 128) return attn_dq_run<128 | ATTN_F32 | ATTN_NARROW>(dev, a, j);
        return attn_dq_run<256 | ATTN_F32 | ATTN_NARROW>(dev, a, j);
    }
    if (j->K <= 32) return attn_dq_run<32 | ATTN_TWO | ATTN_NARROW>(dev, a, j);
    if (j->K <= 64) return attn_dq_run<64 | ATTN_TWO | ATTN_NARROW>(dev, a, j);
    if (j->K <= 96) return attn_dq_run<96 | ATTN_NARROW>(dev, a, j);
    if (j->K <= 128) return attn_dq_run<128 | ATTN_NARROW>(dev, a, j);
    return attn_dq_run<256 | ATTN_NARROW>(dev, a, j);
}
