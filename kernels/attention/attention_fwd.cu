/* Forward of the attention on a device: a block takes query rows of one segment and kv head (all
 * heads of the group side by side) and walks the tiles of their path with an online softmax. Tiles
 * lie at absolute path positions and a row's sums never meet another row's, so its bits depend on
 * its path alone. */
#include "kernels/attention/attention_rows.cuh"

enum { MOST_BLOCKS_OF_A_STEP = 4096 };

/* A thread's part of the softmax, for the rows of its fragments. */
template <int V> struct attn_fwd_rows {
    float top[attn_shape<V>::MT][2], sum[attn_shape<V>::MT][2];
};

template <int V> struct attn_fwd_shared {
    typename attn_shape<V>::T *q, *k, *v;
    struct attn_place *query, *key; /* key: of the tile and of the next, by turns */
};

template <int V> PLUMB_DEVICE struct attn_fwd_shared<V> attn_fwd_shared_at(void *base)
{
    typedef attn_shape<V> S;
    typename S::T *const q = (typename S::T *)base, *const k = q + S::ROWS * S::D;
    typename S::T *const v = k + S::TILE * S::D;
    struct attn_place *const query = (struct attn_place *)(void *)(v + S::TILE * S::D);
    return { q, k, v, query, query + S::ROWS };
}

template <int V> static size_t attn_fwd_bytes()
{
    typedef attn_shape<V> S;
    return (S::ROWS + 2 * S::TILE) * (S::D * sizeof(typename S::T) + sizeof(struct attn_place));
}

template <int V>
PLUMB_DEVICE void attn_fwd_hide(const struct attn_sight<V> *see, float (*s)[attn_shape<V>::NB][4],
                                int32_t pos, int32_t window)
{
    typedef attn_shape<V> S;
    if (attn_sees_all<V>(see, pos, window)) return;
    PLUMB_UNROLL for (int m = 0; m < S::MT; m++)
        PLUMB_UNROLL for (int n = 0; n < S::NB; n++)
            PLUMB_UNROLL for (int e = 0; e < 4; e++)
                if (!attn_sees<V>(see, m, n, e, pos, window)) s[m][n][e] = -INFINITY;
}

/* Scores become weights relative to the largest so far; earlier sums shrink to it. */
template <int V>
PLUMB_DEVICE void attn_fwd_soften(struct attn_fwd_rows<V> *r, float (*s)[attn_shape<V>::NB][4],
                                  float (*o)[attn_shape<V>::OB][4], float factor)
{
    typedef attn_shape<V> S;
    PLUMB_UNROLL for (int m = 0; m < S::MT; m++)
        PLUMB_UNROLL for (int i = 0; i < 2; i++) {
            float top = r->top[m][i];
            PLUMB_UNROLL for (int n = 0; n < S::NB; n++)
                top = fmaxf(top, fmaxf(s[m][n][2 * i], s[m][n][2 * i + 1]));
            top = fmaxf(top, __shfl_xor_sync(~0u, top, 1));
            top = fmaxf(top, __shfl_xor_sync(~0u, top, 2));
            const float base = top == -INFINITY ? 0.0f : __fmul_rn(top, factor); /* none seen */
            /* Exactly 1 where the top stays: a tile that the row does not see changes no bit. */
            const float shrink = attn_power<V>(__fmul_rn(r->top[m][i], factor) - base);
            float sum = r->sum[m][i] * shrink;
            PLUMB_UNROLL for (int n = 0; n < S::NB; n++)
                PLUMB_UNROLL for (int e = 2 * i; e < 2 * i + 2; e++) {
                    s[m][n][e] = attn_weight<V>(s[m][n][e], factor, base);
                    sum += s[m][n][e];
                }
            r->sum[m][i] = sum;
            r->top[m][i] = top;
            PLUMB_UNROLL for (int n = 0; n < S::OB; n++)
                PLUMB_UNROLL for (int e = 2 * i; e < 2 * i + 2; e++)
                    o[m][n][e] *= shrink;
        }
}

/* Divides by the weights' sum and stores the warp's rows, through their place in the queries'. */
template <int V>
PLUMB_DEVICE void attn_fwd_end(const struct attn_fwd_rows<V> *r, float (*o)[attn_shape<V>::OB][4],
                               const struct attn_fwd_shared<V> *m, const struct attn_job *j)
{
    typedef attn_shape<V> S;
    const int row0 = threadIdx.x / 32 * 16 * S::MT, g = threadIdx.x % 32 / 4;
    float factor[S::MT][2];
    PLUMB_UNROLL for (int t = 0; t < S::MT; t++)
        PLUMB_UNROLL for (int i = 0; i < 2; i++) {
            float sum = r->sum[t][i];
            sum += __shfl_xor_sync(~0u, sum, 1);
            sum += __shfl_xor_sync(~0u, sum, 2);
            factor[t][i] = 1.0f / sum;
            const struct attn_place p = m->query[row0 + 16 * t + g + 8 * i];
            if (!j->lse || p.row < 0 || threadIdx.x % 4) continue;
            const float top = __fmul_rn(r->top[t][i], j->factor);
            const float lse = S::F32 ? top + logf(sum) : (top + log2f(sum)) * j->lse_out;
            j->lse[(int64_t)p.row * j->Hq + p.head] = lse;
        }
    attn_stage<V>(m->q + row0 * S::D, 0, o, factor);
    attn_store<V>(m->q + row0 * S::D, m->query + row0, 0, j->o, j->ldo, j);
}

/* While one of a tile's two parts is worked with, the other one is on its way. */
template <int V>
PLUMB_DEVICE void attn_fwd_walk(const struct attn_block *b, const struct attn_fwd_shared<V> *m,
                                const struct attn_job *j)
{
    typedef attn_shape<V> S;
    const typename S::T *const q = m->q + threadIdx.x / 32 * 16 * S::MT * S::D;
    const struct attn_sight<V> see = attn_sight_of<V>(b, j);
    struct attn_fwd_rows<V> r;
    float o[S::MT][S::OB][4], s[S::MT][S::NB][4];
    PLUMB_UNROLL for (int i = 0; i < 2 * S::MT; i++) {
        r.top[i / 2][i % 2] = -INFINITY;
        r.sum[i / 2][i % 2] = 0;
    }
    attn_clear<V>(o);
    int now = 0;
    for (int32_t pos = b->begin; pos < b->end; pos += S::TILE, now = S::TILE - now) {
        const bool more = pos + S::TILE < b->end;
        const bool sees = attn_sees_any<V>(&see, pos, j->window);
        plumb_cp_async_wait<0>();
        __syncthreads();
        attn_load<V>(m->v, m->key + now, S::TILE, j->v, j->ldv, j);
        plumb_cp_async_commit();
        if (more) attn_place_keys<V>(m->key + S::TILE - now, j, b->s, b->hk, pos + S::TILE, b->end);
        if (sees) attn_score<V>(s, q, m->k);
        plumb_cp_async_wait<0>();
        __syncthreads();
        if (more) attn_load<V>(m->k, m->key + S::TILE - now, S::TILE, j->k, j->ldk, j);
        plumb_cp_async_commit();
        if (!sees) continue;
        attn_cap<V>(s, j);
        attn_fwd_hide<V>(&see, s, pos, j->window);
        attn_fwd_soften<V>(&r, s, o, j->factor);
        attn_add<V>(o, s, m->v, 0);
    }
    if (!see.idle) attn_fwd_end<V>(&r, o, m, j);
}

/* Blocks with the longest paths come last in the table and first here. */
template <int V> __global__ void __launch_bounds__(attn_shape<V>::THREADS, 1)
attn_fwd(const __grid_constant__ struct attn_job j)
{
    typedef attn_shape<V> S;
    PLUMB_DYN_SHARED(unsigned char, base);
    const struct attn_fwd_shared<V> m = attn_fwd_shared_at<V>(base);
    const int64_t tasks = (int64_t)j.t.pieces[0] * j.Hkv;
    for (int64_t e = tasks - 1 - blockIdx.x; e >= 0; e -= gridDim.x) {
        const struct attn_block b = attn_block_at<V>(&j, e);
        __syncthreads(); /* the rows before these are stored */
        attn_place_block<V>(m.query, m.key, &b, &j);
        __syncthreads();
        attn_load<V>(m.q, m.query, S::ROWS, j.q, j.ldq, &j);
        attn_load<V>(m.k, m.key, S::TILE, j.k, j.ldk, &j);
        plumb_cp_async_commit();
        attn_fwd_walk<V>(&b, &m, &j);
    }
}

template <int V>
static int attn_fwd_run(const struct plumb_device *dev, const struct plumb_attention *a,
                        const struct attn_job *j)
{
    typedef attn_shape<V> S;
    static_assert((int)S::ROWS >= PLUMB_ATTENTION_LEAST_ROWS, "pieces outgrow their table");
    PLUMB_TRY(plumb_attention_plan_launch(dev, a, &j->t, S::ROWS, S::ROWS, false));
    /* A cache has room for many rows and a step few queries: blocks then take several pieces. */
    int64_t blocks = (a->N * j->G / S::ROWS + a->forest.S) * j->Hkv;
    if (a->q_start && blocks > MOST_BLOCKS_OF_A_STEP) blocks = MOST_BLOCKS_OF_A_STEP;
    const cudaError_t e = PLUMB_LAUNCH(attn_fwd<V>, (unsigned)blocks, S::THREADS,
                                       attn_fwd_bytes<V>(), plumb_gpu_stream(dev), *j);
    return plumb_gpu_status(e, "attention");
}

static int attention_fwd(const struct plumb_device *dev, const struct plumb_attention *a)
{
    struct attn_job j;
    PLUMB_TRY(attn_describe(a, false, &j));
    if (a->N == 0 || a->forest.S == 0) return PLUMB_OK;
    if (a->q.dtype == PLUMB_F32) {
        if (j.K <= 32) return attn_fwd_run<32 | ATTN_F32>(dev, a, &j);
        if (j.K <= 64) return attn_fwd_run<64 | ATTN_F32>(dev, a, &j);
        if (j.K <= 96) return attn_fwd_run<96 | ATTN_F32>(dev, a, &j);
        if (j.K <= 128) return attn_fwd_run<128 | ATTN_F32>(dev, a, &j);
        return attn_fwd_run<256 | ATTN_F32 | ATTN_NARROW>(dev, a, &j);
    }
    if (j.K <= 32) return attn_fwd_run<32 | ATTN_TWO>(dev, a, &j);
    if (j.K <= 64) return attn_fwd_run<64 | ATTN_TWO>(dev, a, &j);
    if (j.K <= 96) return attn_fwd_run<96 | ATTN_TWO>(dev, a, &j);
    if (j.K <= 128) return attn_fwd_run<128 | ATTN_TWO | ATTN_NARROW>(dev, a, &j);
    return attn_fwd_run<256>(dev, a, &j);
}
PLUMB_GPU_OP(attention_fwd, plumb_attention);
