/* Device code of shaped and mixed rewards. Shaping: a block owns eight neighbouring sequences, a
 * warp sums the divergence of each, then all write their tokens. Mixing: a thread takes four
 * responses. */
#include "kernels/shaping/shape.h"

#include "kernels/gpu_sequence.h"

enum { BLOCK = 256 };

struct reward_mix_job {
    struct plumb_reward_mix a;
    double weight[PLUMB_MIX_MOST]; /* the contract's lie on the host */
};

__global__ void __launch_bounds__(BLOCK)
    reward_mixed(const __grid_constant__ struct reward_mix_job j)
{
    const float *x = (const float *)j.a.x.data;
    const int64_t n = 4 * ((int64_t)blockIdx.x * BLOCK + threadIdx.x), N = j.a.N;
    if (n >= N) return;
    struct plumb_mix_sums s[4];
    PLUMB_UNROLL for (int i = 0; i < 4; i++) s[i] = plumb_mix_sums{ 0, 0, (double)INFINITY, 0, 0 };
    for (int64_t k = 0; k < j.a.K; k++) {
        const plumb_vec<float> v = plumb_four_load(x + k * N, n, N);
        PLUMB_UNROLL for (int i = 0; i < 4; i++) if (v.v[i] == v.v[i])
            plumb_mix_add(&s[i], j.weight[k] * (double)v.v[i]);
    }
    plumb_vec<float> y;
    PLUMB_UNROLL for (int i = 0; i < 4; i++) y.v[i] = plumb_saturate(plumb_mixed(&j.a, &s[i]));
    plumb_four_store((float *)j.a.y.data, n, N, y);
}

static int reward_mix(const struct plumb_device *dev, const struct plumb_reward_mix *a)
{
    if (a->N == 0) return PLUMB_OK;
    struct reward_mix_job j = { *a, {} };
    for (int64_t k = 0; k < a->K; k++)
        j.weight[k] = a->weight ? a->weight[k] : 1;
    const unsigned blocks = (unsigned)plumb_ceil_div(a->N, 4 * BLOCK);
    return plumb_gpu_status(PLUMB_LAUNCH(reward_mixed, blocks, BLOCK, 0, plumb_gpu_stream(dev), j),
                            "reward_mix");
}
PLUMB_GPU_OP(reward_mix, plumb_reward_mix);

struct reward_shape_job {
    struct plumb_reward_shape a;
    struct plumb_run_sums runs; /* where they lie */
};

PLUMB_DEVICE struct plumb_run run_of(const struct plumb_runs *s, int run)
{
    return plumb_run_of(s->bound[run], s->bound[run + 1], s->bound[PLUMB_RUNS_LEAST],
                        s->bound[PLUMB_RUNS_MOST]);
}

/* Totals of the block's sequences; shaped in memory. */
PLUMB_DEVICE void shape_totals(const struct reward_shape_job *j, const struct plumb_runs *s,
                               double *total)
{
    __shared__ double kl[PLUMB_RUNS];
    const struct plumb_reward_shape *a = &j->a;
    const int t = (int)threadIdx.x, warp = t / 32;
    if (a->kl.data && a->shaped.data) {
        const struct plumb_run run = run_of(s, warp);
        const double sum = plumb_run_sum((const float *)a->kl.data, &run);
        if (t % 32 == 0) kl[warp] = sum;
        __syncthreads();
    }
    const int64_t r = plumb_runs_first() + t;
    if (t < PLUMB_RUNS && r < a->R) {
        const struct plumb_run run = run_of(s, t);
        const bool finished = !a->finished || a->finished[r] != 0;
        const double score = (double)((const float *)a->score.data)[r];
        const double penalty = a->kl.data && a->shaped.data ? a->kl_coef * kl[t] : 0.0;
        total[t] = plumb_shape_total(a, score, finished, run.tokens);
        if (a->shaped.data) ((float *)a->shaped.data)[r] = plumb_saturate(total[t] - penalty);
    }
    __syncthreads();
}

/* Rewards of tokens i .. i+3 of the block's, whose first is token `begin` of all. */
PLUMB_DEVICE plumb_vec<float> shape_four(const struct reward_shape_job *j,
                                         const struct plumb_runs *s, const double *total,
                                         int64_t begin, int64_t i, int *r)
{
    plumb_vec<float> x = { { 0, 0, 0, 0 } };
    const float *kl = (const float *)j->a.kl.data;
    if (kl && i >= 0) x = plumb_four_load(kl, begin + i, s->bound[PLUMB_RUNS_MOST]);
    PLUMB_UNROLL for (int k = 0; k < 4; k++)
    {
        const int64_t t = begin + i + k;
        if (kl && i < 0 && i + k >= 0) x.v[k] = kl[t];
        while (*r < PLUMB_RUNS - 1 && t >= s->bound[*r + 1])
            ++*r;
        const double last = t == s->bound[*r + 1] - 1 ? total[*r] : 0.0;
        x.v[k] = plumb_saturate(last - j->a.kl_coef * (double)x.v[k]);
    }
    return x;
}

__global__ void __launch_bounds__(PLUMB_RUNS_BLOCK)
    reward_shaped(const __grid_constant__ struct reward_shape_job j)
{
    __shared__ struct plumb_runs s;
    __shared__ double total[PLUMB_RUNS];
    plumb_runs_bounds(&s, &j.runs);
    shape_totals(&j, &s, total);
    if (!j.a.reward.data) return;
    const int64_t least = s.bound[PLUMB_RUNS_LEAST] > 0 ? s.bound[PLUMB_RUNS_LEAST] : 0;
    const int64_t begin = s.bound[0] > least ? s.bound[0] : least, most = s.bound[PLUMB_RUNS_MOST];
    const int64_t n = (s.bound[PLUMB_RUNS] < most ? s.bound[PLUMB_RUNS] : most) - begin;
    float *p = (float *)j.a.reward.data + begin;
    int r = 0;
    for (int64_t i = 4 * (int)threadIdx.x - plumb_skew(p); i < n; i += 4 * PLUMB_RUNS_BLOCK) {
        const plumb_vec<float> x = shape_four(&j, &s, total, begin, i, &r);
        if (i >= 0 && i + 4 <= n)
            plumb_st16(p + i, x);
        else
            PLUMB_UNROLL for (int k = 0; k < 4; k++) if (i + k >= 0 && i + k < n) p[i + k] = x.v[k];
    }
}

static int reward_shape(const struct plumb_device *dev, const struct plumb_reward_shape *a)
{
    if (a->R == 0) return PLUMB_OK;
    const struct reward_shape_job j = { *a, { .R = a->R, .offset = a->offset } };
    const unsigned blocks = (unsigned)plumb_ceil_div(a->R, PLUMB_RUNS);
    return plumb_gpu_status(
        PLUMB_LAUNCH(reward_shaped, blocks, PLUMB_RUNS_BLOCK, 0, plumb_gpu_stream(dev), j),
        "reward_shape");
}
PLUMB_GPU_OP(reward_shape, plumb_reward_shape);
