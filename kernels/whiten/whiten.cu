/* Device code of moments and whitening. A block takes a chunk of 4096 values, holds them in
 * registers and looks at them twice: for the mean and for the distances from it. One block joins
 * the chunks in an order that their number fixes. */
#include "kernels/whiten/moments.h"

#include "kernels/gpu_sequence.h"

enum { BLOCK = 256, WARPS = BLOCK / 32, FOURS = PLUMB_MOMENTS_CHUNK / 4 / BLOCK };

struct moments_job {
    int64_t M;
    const float *x;
    const int32_t *counted;
    struct plumb_moment_set *part;
};

/* The block's sum of x, in every thread; the order is fixed. */
PLUMB_DEVICE double block_sum(double x, double *warps)
{
    const int t = (int)threadIdx.x;
    x = plumb_warp_sum(x);
    __syncthreads();
    if (t % 32 == 0) warps[t / 32] = x;
    __syncthreads();
    double sum = 0;
    for (int w = 0; w < WARPS; w++)
        sum += warps[w];
    return sum;
}

__global__ void __launch_bounds__(BLOCK) moments_chunk(const __grid_constant__ struct moments_job j)
{
    __shared__ double warps[WARPS];
    plumb_vec<float> x[FOURS];
    plumb_vec<int32_t> counted[FOURS];
    double count = 0, sum = 0, filled = 0, squares = 0;
    const int64_t first = (int64_t)blockIdx.x * PLUMB_MOMENTS_CHUNK + 4 * (int)threadIdx.x;
    PLUMB_UNROLL for (int f = 0; f < FOURS; f++)
    {
        const int64_t m = first + 4 * BLOCK * f;
        x[f] = plumb_four_load(j.x, m, j.M);
        if (j.counted) counted[f] = plumb_four_load(j.counted, m, j.M);
        PLUMB_UNROLL for (int k = 0; k < 4; k++) if (!j.counted) counted[f].v[k] = m + k < j.M;
    }
    PLUMB_UNROLL for (int f = 0; f < FOURS; f++)
        PLUMB_UNROLL for (int k = 0; k < 4; k++) if (counted[f].v[k])
    {
        count += 1, filled += x[f].v[k] != 0;
        sum += (double)x[f].v[k];
    }
    count = block_sum(count, warps), sum = block_sum(sum, warps);
    filled = block_sum(filled, warps);
    const double mean = count > 0 ? sum / count : 0;
    PLUMB_UNROLL for (int f = 0; f < FOURS; f++)
        PLUMB_UNROLL for (int k = 0; k < 4; k++) if (counted[f].v[k])
            squares += ((double)x[f].v[k] - mean) * ((double)x[f].v[k] - mean);
    squares = block_sum(squares, warps);
    if (threadIdx.x == 0) j.part[blockIdx.x] = plumb_moment_set{ count, mean, squares, filled };
}

/* The other thread's set, `half` behind. */
PLUMB_DEVICE struct plumb_moment_set set_behind(double (*sets)[BLOCK], int half)
{
    const int t = (int)threadIdx.x + half;
    return plumb_moment_set{ sets[0][t], sets[1][t], sets[2][t], sets[3][t] };
}

/* One block: a thread joins every 256th part, then the threads' are joined pair by pair. */
__global__ void __launch_bounds__(BLOCK)
    moments_join(const struct plumb_moment_set *part, int64_t parts, struct plumb_moment_set *out)
{
    __shared__ double sets[PLUMB_MOMENTS][BLOCK];
    const int t = (int)threadIdx.x;
    struct plumb_moment_set sum = { 0, 0, 0, 0 };
    for (int64_t p = t; p < parts; p += BLOCK) {
        const struct plumb_moment_set one = part[p];
        sum = plumb_moments_join(&sum, &one);
    }
    for (int half = BLOCK / 2; half > 0; half /= 2) {
        if (t < 2 * half) sets[0][t] = sum.count, sets[1][t] = sum.mean;
        if (t < 2 * half) sets[2][t] = sum.squares, sets[3][t] = sum.filled;
        __syncthreads();
        if (t < half) {
            const struct plumb_moment_set other = set_behind(sets, half);
            sum = plumb_moments_join(&sum, &other);
        }
        __syncthreads();
    }
    if (t == 0) *out = sum;
}

struct whiten_job {
    struct plumb_whiten a;
};

__global__ void __launch_bounds__(BLOCK) whiten_values(const __grid_constant__ struct whiten_job j)
{
    __shared__ struct plumb_whiten_scale scale;
    if (threadIdx.x == 0) {
        const struct plumb_moment_set set = *(const struct plumb_moment_set *)j.a.moments;
        scale = plumb_whiten_scale(&j.a, &set);
    }
    __syncthreads();
    const float *x = (const float *)j.a.x.data;
    const int64_t m = 4 * ((int64_t)blockIdx.x * BLOCK + threadIdx.x);
    if (m >= j.a.M) return;
    const struct plumb_whiten_scale s = scale;
    plumb_vec<float> v = plumb_four_load(x, m, j.a.M);
    plumb_vec<int32_t> counted = { { 1, 1, 1, 1 } };
    if (j.a.counted) counted = plumb_four_load(j.a.counted, m, j.a.M);
    PLUMB_UNROLL for (int k = 0; k < 4; k++)
        v.v[k] = counted.v[k] ? plumb_saturate(plumb_whitened((double)v.v[k], &s)) : 0.0f;
    plumb_four_store((float *)j.a.y.data, m, j.a.M, v);
}

static int moments(const struct plumb_device *dev, const struct plumb_moments *a)
{
    const struct moments_job j = { a->M, (const float *)a->x.data, a->counted,
                                   (struct plumb_moment_set *)a->work.data };
    const int64_t chunks = plumb_ceil_div(a->M, PLUMB_MOMENTS_CHUNK);
    if (chunks > 0)
        PLUMB_TRY(plumb_gpu_status(
            PLUMB_LAUNCH(moments_chunk, (unsigned)chunks, BLOCK, 0, plumb_gpu_stream(dev), j),
            "moments"));
    return plumb_gpu_status(PLUMB_LAUNCH(moments_join, 1, BLOCK, 0, plumb_gpu_stream(dev), j.part,
                                         chunks, (struct plumb_moment_set *)a->moments),
                            "moments");
}
PLUMB_GPU_OP(moments, plumb_moments);

/* Parts in order: few, one after the other. */
__global__ void moments_parts(const struct plumb_moment_set *part, int64_t parts,
                              struct plumb_moment_set *out)
{
    struct plumb_moment_set sum = { 0, 0, 0, 0 };
    for (int64_t p = 0; p < parts; p++) {
        const struct plumb_moment_set one = part[p];
        sum = plumb_moments_join(&sum, &one);
    }
    *out = sum;
}

static int moments_merge(const struct plumb_device *dev, const struct plumb_moments_merge *a)
{
    return plumb_gpu_status(PLUMB_LAUNCH(moments_parts, 1, 1, 0, plumb_gpu_stream(dev),
                                         (const struct plumb_moment_set *)a->parts, a->K,
                                         (struct plumb_moment_set *)a->moments),
                            "moments_merge");
}
PLUMB_GPU_OP(moments_merge, plumb_moments_merge);

static int whiten(const struct plumb_device *dev, const struct plumb_whiten *a)
{
    if (a->M == 0) return PLUMB_OK;
    const struct whiten_job j = { *a };
    const unsigned blocks = (unsigned)plumb_ceil_div(a->M, 4 * BLOCK);
    return plumb_gpu_status(PLUMB_LAUNCH(whiten_values, blocks, BLOCK, 0, plumb_gpu_stream(dev), j),
                            "whiten");
}
PLUMB_GPU_OP(whiten, plumb_whiten);
