/* Device code of advantages by group: a warp owns a group, lanes stride its responses. */
#include "kernels/advantage/advantage_eval.h"

#include "kernels/advantage/members.h"
#include "kernels/gpu_sequence.h"

enum { WARPS = 8, BLOCK = 32 * WARPS };

struct advantage_job {
    struct plumb_advantage a;
};

struct optimal_value_job {
    struct plumb_optimal_value a;
};

/* The responses of one group: places [first, end) of the runs; a response out of range is none. */
struct members {
    int64_t first, end, N;
    const int32_t *index;
};

/* Of the warp's group; all threads of a block call it together, which read their bounds at once. */
PLUMB_DEVICE struct members members_of(const int32_t *offset, const int32_t *index, int64_t G,
                                       int64_t N)
{
    __shared__ int32_t bound[WARPS + 1];
    const int t = (int)threadIdx.x, warp = t / 32;
    const int64_t at = (int64_t)blockIdx.x * WARPS + t;
    if (t <= WARPS) bound[t] = offset[at < G ? at : G];
    __syncthreads();
    const int64_t first = bound[warp], end = bound[warp + 1];
    const bool good = first >= 0 && first <= end && end <= (index ? offset[G] : N);
    return members{ good ? first : 0, good ? end : 0, N, index };
}

PLUMB_DEVICE int64_t member_at(const struct members *m, int64_t place)
{
    const int64_t at = m->index ? m->index[place] : place;
    return at >= 0 && at < m->N ? at : -1;
}

/* The largest two of all lanes. */
PLUMB_DEVICE void warp_top(struct plumb_group *g)
{
    PLUMB_UNROLL for (int d = 16; d > 0; d /= 2)
    {
        const double top = __shfl_xor_sync(0xffffffffu, g->top, d);
        const double second = __shfl_xor_sync(0xffffffffu, g->second, d);
        plumb_group_top(g, top);
        if (second > g->second) g->second = second;
    }
}

PLUMB_DEVICE struct plumb_group group_of(const struct plumb_advantage *a, const struct members *m)
{
    const float *reward = (const float *)a->reward.data, *weight = (const float *)a->weight.data;
    struct plumb_group g = { .n = (double)(m->end - m->first),
                             .top = -(double)INFINITY,
                             .second = -(double)INFINITY };
    const int64_t start = m->first + threadIdx.x % 32;
    for (int64_t k = start; k < m->end; k += 32) {
        const int64_t at = member_at(m, k);
        const double r = at < 0 ? (double)NAN : (double)reward[at];
        const double w = at < 0 || !weight ? 1.0 : (double)weight[at];
        g.mean += r, g.weights += w, g.weighted += w * r;
        plumb_group_top(&g, r);
    }
    g.mean = plumb_warp_sum(g.mean);
    g.weights = plumb_warp_sum(g.weights), g.weighted = plumb_warp_sum(g.weighted);
    warp_top(&g);
    if (g.n > 0) g.mean /= g.n;
    for (int64_t k = start; k < m->end; k += 32) {
        const int64_t at = member_at(m, k);
        const double far = at < 0 ? 0.0 : (double)reward[at] - g.mean;
        g.squares += far * far;
    }
    g.squares = plumb_warp_sum(g.squares);
    return g;
}

__global__ void __launch_bounds__(BLOCK)
    advantage_groups(const __grid_constant__ struct advantage_job j)
{
    const struct plumb_advantage &a = j.a;
    const int64_t group = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32;
    const int lane = (int)(threadIdx.x % 32);
    const struct members m = members_of(a.offset, a.index, a.G, a.N);
    if (group >= a.G) return;
    const struct plumb_group_batch b = plumb_group_batch(&a, a.moments);
    const struct plumb_group g = group_of(&a, &m);
    if (a.mean.data && lane == 0) ((float *)a.mean.data)[group] = plumb_saturate(g.mean);
    if (a.deviation.data && lane == 0)
        ((float *)a.deviation.data)[group] = plumb_saturate(plumb_spread(g.squares, g.n));
    for (int64_t k = m.first + lane; k < m.end; k += 32) {
        const int64_t at = member_at(&m, k);
        if (at < 0) continue;
        const struct plumb_member p = plumb_member_of(&g, &b,
                                                      (double)((const float *)a.reward.data)[at]);
        struct plumb_member_grad none;
        ((float *)a.advantage.data)[at] = plumb_finite(
            plumb_member_eval((int)a.formula, &p, &none));
    }
}

static int advantage(const struct plumb_device *dev, const struct plumb_advantage *a)
{
    if (a->G == 0) return PLUMB_OK;
    const struct advantage_job j = { *a };
    const unsigned blocks = (unsigned)plumb_ceil_div(a->G, WARPS);
    return plumb_gpu_status(
        PLUMB_LAUNCH(advantage_groups, blocks, BLOCK, 0, plumb_gpu_stream(dev), j), "advantage");
}
PLUMB_GPU_OP(advantage, plumb_advantage);

__global__ void __launch_bounds__(BLOCK)
    optimal_values(const __grid_constant__ struct optimal_value_job j)
{
    const struct plumb_optimal_value &a = j.a;
    __shared__ float values[WARPS];
    const float *reward = (const float *)a.reward.data;
    const struct members m = members_of(a.offset, a.index, a.G, a.N);
    const int64_t start = m.first + threadIdx.x % 32;
    const double n = (double)(m.end - m.first);
    double top = -(double)INFINITY, sum = 0;
    for (int64_t k = start; k < m.end; k += 32) {
        const int64_t at = member_at(&m, k);
        if (at >= 0) top = fmax(top, (double)reward[at]);
    }
    PLUMB_UNROLL for (int d = 16; d > 0; d /= 2)
        top = fmax(top, __shfl_xor_sync(0xffffffffu, top, d));
    for (int64_t k = start; k < m.end; k += 32) {
        const int64_t at = member_at(&m, k);
        sum += at < 0 ? (double)NAN : exp(((double)reward[at] - top) / a.beta);
    }
    sum = plumb_warp_sum(sum);
    if (threadIdx.x % 32 == 0)
        values[threadIdx.x / 32] = n > 0 ? plumb_saturate(top + a.beta * log(sum / n)) : 0.0f;
    __syncthreads();
    const int64_t group = (int64_t)blockIdx.x * WARPS + threadIdx.x;
    if (threadIdx.x < WARPS && group < a.G) ((float *)a.value.data)[group] = values[threadIdx.x];
}

static int optimal_value(const struct plumb_device *dev, const struct plumb_optimal_value *a)
{
    if (a->G == 0) return PLUMB_OK;
    const struct optimal_value_job j = { *a };
    const unsigned blocks = (unsigned)plumb_ceil_div(a->G, WARPS);
    return plumb_gpu_status(
        PLUMB_LAUNCH(optimal_values, blocks, BLOCK, 0, plumb_gpu_stream(dev), j), "optimal_value");
}
PLUMB_GPU_OP(optimal_value, plumb_optimal_value);
