/* Device code of the covariance with the means of a batch: a block sums each chunk, then all blocks
 * add up the chunks' sums in one order and write the keys. */
#include "kernels/select/select_shell.h"

#include "kernels/gpu_sequence.h"
#include "kernels/select/select_work.h"

enum { BLOCK = 256, CHUNK = PLUMB_COVARIANCE_CHUNK };

struct covariance_job {
    struct plumb_covariance_options options;
    int64_t M, chunks;
    const int32_t *target;
    const float *logp, *advantage, *old;
    float *key;
    double *sum; /* (3, chunks): of the log-probs, of the advantages, tokens */
};

struct covariance_four {
    plumb_vec<float> logp, a;
    plumb_vec<int32_t> target;
};

PLUMB_DEVICE struct covariance_four four_of(const struct covariance_job *j, int64_t i)
{
    struct covariance_four x;
    x.target = plumb_vec<int32_t>{ { 0, 0, 0, 0 } };
    x.logp = plumb_four_load(j->logp, i, j->M);
    x.a = plumb_four_load(j->advantage, i, j->M);
    if (j->target) x.target = plumb_four_load(j->target, i, j->M);
    PLUMB_UNROLL for (int k = 0; k < 4; k++) if (i + k >= j->M) x.target.v[k] = -1;
    return x;
}

/* In every thread of the first warp. */
PLUMB_DEVICE double block_sum(double x, double part[BLOCK / 32])
{
    const int lane = (int)(threadIdx.x % 32);
    x = plumb_warp_sum(x);
    __syncthreads();
    if (lane == 0) part[threadIdx.x / 32] = x;
    __syncthreads();
    return plumb_warp_sum(lane < BLOCK / 32 ? part[lane] : 0.0);
}

__global__ void __launch_bounds__(BLOCK)
    covariance_sums(const __grid_constant__ struct covariance_job j)
{
    __shared__ double part[BLOCK / 32];
    double sum[3] = { 0, 0, 0 };
    const int64_t first = (int64_t)blockIdx.x * CHUNK;
    for (int64_t i = first + 4 * (int)threadIdx.x; i < first + CHUNK && i < j.M; i += 4 * BLOCK) {
        const struct covariance_four x = four_of(&j, i);
        PLUMB_UNROLL for (int k = 0; k < 4; k++)
        {
            if (x.target.v[k] < 0) continue;
            sum[0] += (double)x.logp.v[k], sum[1] += (double)x.a.v[k], sum[2]++;
        }
    }
    PLUMB_UNROLL for (int k = 0; k < 3; k++)
    {
        const double total = block_sum(sum[k], part);
        if (threadIdx.x == 0) j.sum[k * j.chunks + blockIdx.x] = total;
    }
}

__global__ void __launch_bounds__(BLOCK)
    covariance_keys(const __grid_constant__ struct covariance_job j)
{
    __shared__ double total[3];
    const int warp = (int)(threadIdx.x / 32);
    if (warp < 3) {
        double sum = 0;
        for (int64_t c = threadIdx.x % 32; c < j.chunks; c += 32)
            sum += j.sum[warp * j.chunks + c];
        sum = plumb_warp_sum(sum);
        if (threadIdx.x % 32 == 0) total[warp] = sum;
    }
    __syncthreads();
    const int64_t i = 4 * ((int64_t)blockIdx.x * BLOCK + threadIdx.x);
    if (i >= j.M) return;
    const double n = total[2] > 0 ? total[2] : 1, mean = total[0] / n, adv_mean = total[1] / n;
    const struct covariance_four x = four_of(&j, i);
    plumb_vec<float> old = x.logp, key;
    if (j.old) old = plumb_four_load(j.old, i, j.M);
    PLUMB_UNROLL for (int k = 0; k < 4; k++)
    {
        const double product = ((double)x.a.v[k] - adv_mean) * ((double)x.logp.v[k] - mean);
        key.v[k] = x.target.v[k] < 0
                       ? -INFINITY
                       : plumb_covariance_key(&j.options, plumb_saturate(product), x.a.v[k],
                                              plumb_finite(x.logp.v[k] - old.v[k]), i + k);
    }
    plumb_four_store(j.key, i, j.M, key);
}

static int covariance(const struct plumb_device *dev, const struct plumb_covariance *a)
{
    if (a->M == 0) return PLUMB_OK;
    const struct covariance_job j = { plumb_covariance_options(a),
                                      a->M,
                                      (int64_t)plumb_covariance_chunks(a->M),
                                      a->target,
                                      (const float *)a->logp.data,
                                      (const float *)a->advantage.data,
                                      a->random ? (const float *)a->old_logp.data : NULL,
                                      (float *)a->key.data,
                                      (double *)a->work.data };
    const cudaStream_t stream = plumb_gpu_stream(dev);
    const unsigned blocks = (unsigned)plumb_ceil_div(a->M, 4 * BLOCK);
    cudaError_t e = PLUMB_LAUNCH(covariance_sums, (unsigned)j.chunks, BLOCK, 0, stream, j);
    if (!e) e = PLUMB_LAUNCH(covariance_keys, blocks, BLOCK, 0, stream, j);
    return plumb_gpu_status(e, "covariance");
}
PLUMB_GPU_OP(covariance, plumb_covariance);
