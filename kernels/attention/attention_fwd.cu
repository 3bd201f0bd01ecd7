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

template <int V>
PLUMB_DEVICE void attn_fwd_hide(const struct attn_sight<V> *see, float (*s)[attn_shape<V>::NB][4],
                                int32_t pos, int32_t window)
{
    typedef attn_shape<V> S;
    if (attn_sees_all<V>(see, pos, window)) return;
    const int32_t first = pos + (int32_t)threadIdx.x % 4 * 2;
    PLUMB_UNROLL for (int m = 0; m < S::MT; m++)
        PLUMB_UNROLL for (int n = 0; n < S::NB; n++)
            PLUMB_UNROLL for (int e = 0; e < 4; e++)
                if (!attn_sees(see->last[m][e / 2], first + 8 * n + e % 2, window))
                    s[m][n][e] = -INFINITY;
}

/* The row's largest score so far; earlier sums of weights shrink to it by the result. */
template <int V>
PLUMB_DEVICE float attn_fwd_raise(float *top, const float (*s)[4], int i, float factor, float *base)
{
    const float before = __fmul_rn(*top, factor);
    float now = *top;
    PLUMB_UNROLL for (int n = 0; n < attn_shape<V>::NB; n++)
        now = fmaxf(now, fmaxf(s[n][2 * i], s[n][2 * i + 1]));
    now = fmaxf(now, __shfl_xor_sync(~0u, now, 1));
    now = fmaxf(now, __shfl_xor_sync(~0u, now, 2));
    *base = now == -INFINITY ? 0.0f : __fmul_rn(now, factor); /* nothing seen yet */
    *top = now;
    return attn_power<V>(before - *base);
}

/* Scores become weights relative to the largest so far. A tile that a row does not see changes
 * none of its bits: its factor is exactly 1 then. */
template <int V>
PLUMB_DEVICE void attn_fwd_soften(struct attn_fwd_rows<V> *r, float (*s)[attn_shape<V>::NB][4],
                                  float (*o)[attn_shape<V>::OB][4], float factor)
{
    typedef attn_shape<V> S;
    float shrink[S::MT][2];
    bool same = true;
    PLUMB_UNROLL for (int m = 0; m < S::MT; m++)
        PLUMB_UNROLL for (int i = 0; i < 2; i++) {
            float base;
            shrink[m][i] = attn_fwd_raise<V>(&r->top[m][i], s[m], i, factor, &base);
            same = same && shrink[m][i] == 1;
            float sum = r->sum[m][i] * shrink[m][i];
            PLUMB_UNROLL for (int n = 0; n < S::NB; n++)
                PLUMB_UNROLL for (int e = 2 * i; e < 2 * i + 2; e++) {
                    s[m][n][e] = attn_weight<V>(s[m][n][e], factor, base);
                    sum += s[m][n][e];
                }
            r->sum[m][i] = sum;
        }
    if (__all_sync(~0u, same)) return;
    PLUMB_UNROLL for (int m = 0; m < S::MT; m++)
        PLUMB_UNROLL for (int n = 0; n < S::OB; n++)
            PLUMB_UNROLL for (int e = 0; e < 4; e++)
                o[m][n][e] *= shrink[m][e / 2];
}

/* Divides by the weights' sum and stores the warp's rows, through where their queries lay. */
template <int V>
PLUMB_DEVICE void attn_fwd_end(const struct attn_fwd_rows<V> *r, float (*o)[attn_shape<V>::OB][4],
                               const struct attn_shared<V> *m, const struct attn_job *j)
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
            const uint64_t at = m->own_place[row0 + 16 * t + g + 8 * i];
            if (!j->lse || attn_row_of(at) < 0 || threadIdx.x % 4) continue;
            const float top = __fmul_rn(r->top[t][i], j->factor);
            const float lse = S::F32 ? top + logf(sum) : (top + log2f(sum)) * j->lse_out;
            j->lse[attn_offset(at, j->Hq, 1)] = lse;
        }
    attn_stage<V>(m->own + row0 * S::D, 0, o, factor);
    attn_store<V>(m->own + row0 * S::D, m->own_place + row0, 0, j->o, j->ldo, j);
}

template <int V>
PLUMB_DEVICE void attn_fwd_walk(const struct attn_block *b, const struct attn_shared<V> *m,
                                const struct attn_job *j)
{
    typedef attn_shape<V> S;
    const typename S::T *const q = m->own + threadIdx.x / 32 * 16 * S::MT * S::D;
    const struct attn_sight<V> see = attn_sight_of<V>(b, j);
    struct attn_fwd_rows<V> r;
    float o[S::MT][S::OB][4], s[S::MT][S::NB][4];
    PLUMB_UNROLL for (int i = 0; i < 2 * S::MT; i++) {
        r.top[i / 2][i % 2] = -INFINITY;
        r.sum[i / 2][i % 2] = 0;
    }
    attn_clear<V>(o);
    for (int32_t pos = b->begin, i = 0; pos < b->end; pos += S::TILE, i++) {
        attn_await_pair();
        if (pos + S::TILE < b->end) attn_load_pair<V>(m, i + 1, j->k, j->ldk, j->v, j->ldv, j);
        attn_place_keys<V>(m, i + 2, b, j);
        if (!attn_sees_any<V>(&see, pos, j->window)) continue;
        const typename S::T *const k = attn_tile<V>(m, i);
        attn_score<V>(s, q, k);
        attn_cap<V>(s, j);
        attn_fwd_hide<V>(&see, s, pos, j->window);
        attn_fwd_soften<V>(&r, s, o, j->factor);
        attn_add<V>(o, s, k + S::TILE * S::D, 0);
    }
    if (!see.idle) attn_fwd_end<V>(&r, o, m, j);
}

/* Blocks with the longest paths come last in the table and first here. */
template <int V> __global__ void __launch_bounds__(attn_shape<V>::THREADS, 1)
attn_fwd(const __grid_constant__ struct attn_job j)
{
    typedef attn_shape<V> S;
    PLUMB_DYN_SHARED(unsigned char, base);
    const struct attn_shared<V> m = attn_shared_at<V>(base, 1);
    const int64_t tasks = (int64_t)j.t.pieces[0] * j.Hkv;
    for (int64_t e = tasks - 1 - blockIdx.x; e >= 0; e -= gridDim.x) {
        const struct attn_block b = attn_block_at<V>(&j, e);
        __syncthreads(); /* the rows before these are stored */
        attn_place_block<V>(&m, &b, &j);
        __syncthreads();
        attn_load<V>(m.own, m.own_place, S::ROWS, j.q, j.ldq, &j);
        attn_load_pair<V>(&m, 0, j.k, j.ldk, j.v, j.ldv, &j);
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
                                       attn_shared_bytes<V>(1), plumb_gpu_stream(dev), *j);
    return plumb_gpu_status(e, "attention");
}

static int attention_fwd(const struct plumb_device *dev, const struct plumb_attention *a)
{
    struct attn_job j;
    PLUMB_TRY(attn_describe(a, false, &j));
    if (a->N == 0 || a->forest.S == 0) return PLUMB_OK;
    if (a->q.dtype == PLUMB_F32) {
        if (j.K <= 32) return attn_fwd_run<32 | ATTN_F32>(dev, a, &j);
        if (j.K <= 64) return attn_fwd_run<64 | ATTN_F32 | ATTN_NARROW>(dev, a, &j);
        if (j.K <= 96) return attn_fwd_run<96 | ATTN_F32 | ATTN_NARROW>(dev, a, &j);
        if (j.K <= 128) return attn_fwd_run<128 | ATTN_F32 | ATTN_NARROW>(dev, a, &j);
        return attn_fwd_run<256 | ATTN_F32 | ATTN_NARROW>(dev, a, &j);
    }
    if (j.K <= 32) return attn_fwd_run<32 | ATTN_TWO>(dev, a, &j);
    if (j.K <= 64) return attn_fwd_run<64 | ATTN_TWO>(dev, a, &j);
    if (j.K <= 96) return attn_fwd_run<96 | ATTN_TWO | ATTN_NARROW>(dev, a, &j);
    if (j.K <= 128) return attn_fwd_run<128 | ATTN_TWO | ATTN_NARROW>(dev, a, &j);
    return attn_fwd_run<256 | ATTN_NARROW>(dev, a, &j);
}
PLUMB_GPU_OP(attention_fwd, plumb_attention);
