/* Device code of token weights. A block owns eight neighbouring sequences, four pairs. */
#include "kernels/token_weight/weighting.h"

#include "kernels/gpu_sequence.h"

enum { BLOCK = PLUMB_RUNS_BLOCK };

/* What a block knows of its sequences; empty where their bounds lead out of the array. */
struct weight_sides {
    int32_t bound[PLUMB_RUNS_BOUNDS];
    int32_t shorter[PLUMB_RUNS]; /* tokens of the shorter side of each one's pair */
    int32_t turns[PLUMB_RUNS];
};

PLUMB_DEVICE struct plumb_run side_of(const struct weight_sides *s, int r)
{
    return plumb_run_of(s->bound[r], s->bound[r + 1], s->bound[PLUMB_RUNS_LEAST],
                        s->bound[PLUMB_RUNS_MOST]);
}

PLUMB_DEVICE void read_sides(struct weight_sides *s, const struct plumb_token_weight *a)
{
    const int t = (int)threadIdx.x;
    const int64_t first = plumb_runs_first(), R = 2 * a->B;
    const int64_t r = t == PLUMB_RUNS_LEAST ? 0 : t == PLUMB_RUNS_MOST ? R : first + t;
    if (t < PLUMB_RUNS_BOUNDS) s->bound[t] = a->offset[r > R ? R : r];
    __syncthreads();
    if (t < PLUMB_RUNS) {
        const struct plumb_run own = side_of(s, t), other = side_of(s, t ^ 1);
        const int64_t m = own.tokens < other.tokens ? own.tokens : other.tokens;
        s->shorter[t] = (int32_t)(m > 0 ? m : 0);
        s->turns[t] = a->kind == PLUMB_WEIGHT_TURNS && own.tokens > 0
                          ? a->turn[own.first + own.tokens - 1] + 1
                          : 0;
    }
    __syncthreads();
}

/* Tail and turns: the block's tokens by fours, wherever a sequence begins. */
__global__ void __launch_bounds__(BLOCK)
    token_weight_fill(const __grid_constant__ struct plumb_token_weight a)
{
    __shared__ struct weight_sides s;
    read_sides(&s, &a);
    const struct plumb_run all = plumb_run_of(s.bound[0], s.bound[PLUMB_RUNS],
                                              s.bound[PLUMB_RUNS_LEAST], s.bound[PLUMB_RUNS_MOST]);
    float *p = static_cast<float *>(a.weight.data) + all.first;
    int r = 0;
    for (int64_t i = 4 * (int)threadIdx.x - plumb_skew(p); i < all.tokens; i += 4 * BLOCK) {
        plumb_vec<float> x;
        PLUMB_UNROLL for (int k = 0; k < 4; k++)
        {
            const int64_t t = all.first + i + k;
            const bool inside = i + k >= 0 && i + k < all.tokens;
            while (inside && r < PLUMB_RUNS - 1 && t >= s.bound[r + 1])
                r++;
            x.v[k] = 1.0f;
            if (a.kind == PLUMB_WEIGHT_TURNS)
                x.v[k] = inside ? (float)plumb_turn_weight(a.gamma, a.turn[t], s.turns[r]) : 0.0f;
            else if (t - s.bound[r] >= s.shorter[r])
                x.v[k] = plumb_saturate_f32(a.ld_alpha);
        }
        if (i >= 0 && i + 4 <= all.tokens)
            plumb_st16(p + i, x);
        else
            PLUMB_UNROLL for (int k = 0; k < 4; k++) if (i + k >= 0 && i + k < all.tokens)
                p[i + k] = x.v[k];
    }
}

/* Subset: a warp walks a sequence; whether a token is taken depends on how many were before it. */
__global__ void __launch_bounds__(BLOCK)
    token_weight_draw(const __grid_constant__ struct plumb_token_weight a)
{
    __shared__ struct weight_sides s;
    read_sides(&s, &a);
    const int lane = (int)(threadIdx.x % 32), warp = (int)(threadIdx.x / 32);
    const struct plumb_run run = side_of(&s, warp);
    float *weight = static_cast<float *>(a.weight.data) + run.first;
    int64_t want = s.shorter[warp];
    for (int64_t first = -plumb_skew(weight); first < run.tokens; first += 32) { /* whole sectors */
        const int64_t own = first + lane;
        const uint32_t word = plumb_token_word(a.seed, a.step, plumb_runs_first() + warp, own);
        bool mine = false;
        for (int k = 0; k < 32; k++) {
            const uint32_t each = __shfl_sync(0xffffffffu, word, k);
            const int64_t left = run.tokens - first - k;
            const bool inside = first + k >= 0 && left > 0;
            const bool taken = inside && plumb_token_taken(each, left, want);
            if (k == lane) mine = taken;
            want -= taken;
        }
        if (own >= 0 && own < run.tokens) weight[own] = mine ? 1.0f : 0.0f;
    }
}

static int token_weight(const struct plumb_device *dev, const struct plumb_token_weight *a)
{
    if (a->B == 0) return PLUMB_OK;
    const unsigned blocks = (unsigned)plumb_ceil_div(2 * a->B, PLUMB_RUNS);
    return plumb_gpu_status(
        PLUMB_LAUNCH(a->kind == PLUMB_WEIGHT_SUBSET ? token_weight_draw : token_weight_fill, blocks,
                     BLOCK, 0, plumb_gpu_stream(dev), *a),
        "token_weight");
}
PLUMB_GPU_OP(token_weight, plumb_token_weight);

struct wpo_job {
    struct plumb_run_sums in; /* logps and rewards unused */
    float *weight;
};

__global__ void __launch_bounds__(BLOCK) wpo_weights(const __grid_constant__ struct wpo_job j)
{
    __shared__ struct plumb_runs s;
    plumb_runs_bounds(&s, &j.in);
    const int t = (int)threadIdx.x, warp = t / 32;
    const struct plumb_run run = plumb_run_of(s.bound[warp], s.bound[warp + 1],
                                              s.bound[PLUMB_RUNS_LEAST], s.bound[PLUMB_RUNS_MOST]);
    const double logp = plumb_run_sum(j.in.logp, &run), sq = plumb_run_sum(j.in.ref_logp, &run);
    if (t % 32 == 0) s.q[warp].ratio = run.tokens != 0 ? (logp - sq) / (double)run.tokens : 0.0;
    __syncthreads();
    const int64_t i = plumb_runs_first() / 2 + t;
    if (t < PLUMB_RUNS / 2 && 2 * i < j.in.R)
        j.weight[i] = plumb_saturate_f32(plumb_wpo_weight(s.q[2 * t].ratio, s.q[2 * t + 1].ratio));
}

static int wpo(const struct plumb_device *dev, const struct plumb_wpo *a)
{
    if (a->B == 0) return PLUMB_OK;
    const struct wpo_job j = { { 2 * a->B, a->offset, (const float *)a->logp.data,
                                 (const float *)a->log_sum_sq.data, NULL, NULL, NULL, 0 },
                               (float *)a->weight.data };
    const unsigned blocks = (unsigned)plumb_ceil_div(2 * a->B, PLUMB_RUNS);
    return plumb_gpu_status(PLUMB_LAUNCH(wpo_weights, blocks, BLOCK, 0, plumb_gpu_stream(dev), j),
                            "wpo");
}
PLUMB_GPU_OP(wpo, plumb_wpo);
