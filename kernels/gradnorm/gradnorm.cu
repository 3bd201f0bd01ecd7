/* Device code of the gradient norm: f64 sums of squares, one for each block of x, then one block of
 * threads that adds them up. The lanes are those of the native code, so the bits are the same. */
#include "kernels/gradnorm/gradnorm.h"

#include "kernels/gpu_quad.h"

enum {
    LANES = PLUMB_GRADNORM_LANES,
    MERGE = PLUMB_GRADNORM_MERGE,
    CHUNK = PLUMB_GRADNORM_BLOCK,
    TEAM = LANES / 4, /* threads of a chunk: each has four of its lanes */
    BLOCK = 128,
    AHEAD = 8 /* quads under way at a time */
};

/* A team sums one chunk of x. */
__global__ void gradnorm_chunks(const float *x, int64_t count, double *sums, bool whole)
{
    const int64_t chunk = ((int64_t)blockIdx.x * BLOCK + threadIdx.x) / TEAM;
    const int64_t first = chunk * CHUNK + threadIdx.x % TEAM * 4;
    double lane[4] = {}, sum = 0;
    for (int64_t i = first; i < (chunk + 1) * CHUNK && i < count; i += AHEAD * LANES) {
        struct plumb_quad q[AHEAD];
        PLUMB_UNROLL for (int a = 0; a < AHEAD; a++)
            q[a] = plumb_quad_stream(x + i + a * LANES, whole, count - i - a * LANES);
        PLUMB_UNROLL for (int a = 0; a < AHEAD; a++) PLUMB_UNROLL for (int k = 0; k < 4; k++)
            lane[k] += (double)q[a].v[k] * (double)q[a].v[k];
    }
    for (int t = 0; t < TEAM; t++)
        PLUMB_UNROLL for (int k = 0; k < 4; k++) sum += __shfl_sync(0xffffffffu, lane[k], t, TEAM);
    if (threadIdx.x % TEAM == 0 && chunk * CHUNK < count) sums[chunk] = sum;
}

/* The smallest of the block's `x`; called by all threads. */
PLUMB_DEVICE int64_t smallest(int64_t x)
{
    __shared__ long long least;
    if (threadIdx.x == 0) least = INT64_MAX;
    __syncthreads();
    atomicMin(&least, (long long)x);
    __syncthreads();
    const int64_t found = least;
    __syncthreads();
    return found;
}

/* Squares of f32 cannot overflow f64, so a sum is finite exactly when all elements are. */
PLUMB_DEVICE int64_t first_bad(const float *x, int64_t count, const double *sums, int64_t chunks)
{
    int64_t bad = INT64_MAX;
    for (int64_t c = chunks - 1 - threadIdx.x; c >= 0; c -= MERGE)
        if (!isfinite(sums[c])) bad = c;
    const int64_t from = smallest(bad) * CHUNK, to = from + CHUNK < count ? from + CHUNK : count;
    bad = INT64_MAX;
    for (int64_t i = to - 1 - threadIdx.x; i >= from; i -= MERGE)
        if (!isfinite((double)x[i])) bad = i;
    return smallest(bad);
}

/* One block. */
__global__ void gradnorm_merge(const float *x, int64_t count, const double *sums, int64_t chunks,
                               double *norm, int64_t *bad)
{
    __shared__ double lane[MERGE];
    double sum = 0;
    for (int64_t c = threadIdx.x; c < chunks; c += MERGE)
        sum += sums[c];
    lane[threadIdx.x] = sum;
    __syncthreads();
    sum = 0;
    for (int l = 0; l < MERGE; l++)
        sum += lane[l];
    const int64_t at = isfinite(sum) ? -1 : first_bad(x, count, sums, chunks);
    if (threadIdx.x > 0) return;
    *norm = sqrt(sum);
    if (bad) *bad = at;
}

static int gradnorm(const struct plumb_device *dev, const struct plumb_gradnorm *a)
{
    const float *x = (const float *)a->x.data;
    double *sums = (double *)a->work.data;
    const int64_t chunks = plumb_gradnorm_blocks(a->count);
    const cudaStream_t stream = plumb_gpu_stream(dev);
    cudaError_t e = cudaSuccess;
    if (chunks > 0)
        e = PLUMB_LAUNCH(gradnorm_chunks, (unsigned)plumb_ceil_div(chunks * TEAM, BLOCK), BLOCK, 0,
                         stream, x, a->count, sums, plumb_quads(x, 0));
    if (!e)
        e = PLUMB_LAUNCH(gradnorm_merge, 1, MERGE, 0, stream, x, a->count, sums, chunks, a->norm,
                         a->first_bad);
    return plumb_gpu_status(e, "gradnorm");
}
PLUMB_GPU_OP(gradnorm, plumb_gradnorm);
