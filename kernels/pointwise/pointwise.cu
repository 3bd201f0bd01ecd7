/* Device code of the pointwise losses: a thread takes four scores. */
#include <plumb/pointwise.h>

#include "kernels/gpu_sequence.h"
#include "kernels/pointwise/pointwise_shell.h"

enum { BLOCK = 256 };

struct pointwise_job {
    int loss;
    int64_t N;
    float pos_weight;
    double divisor;
    const float *score, *target, *weight;
    float *losses, *dscore;
};

__global__ void __launch_bounds__(BLOCK)
    pointwise_loss(const __grid_constant__ struct pointwise_job j)
{
    const int64_t n = 4 * ((int64_t)blockIdx.x * BLOCK + threadIdx.x);
    if (n >= j.N) return;
    const plumb_vec<float> score = plumb_four_load(j.score, n, j.N);
    const plumb_vec<float> target = plumb_four_load(j.target, n, j.N);
    plumb_vec<float> weight = { { 1, 1, 1, 1 } }, loss, grad;
    if (j.weight) weight = plumb_four_load(j.weight, n, j.N);
    PLUMB_UNROLL for (int k = 0; k < 4; k++)
    {
        const struct plumb_rating p = { score.v[k], target.v[k], j.pos_weight };
        const struct plumb_rating_result r = plumb_rating_shell(j.loss, &p, weight.v[k], j.divisor);
        loss.v[k] = r.loss, grad.v[k] = r.grad;
    }
    plumb_four_store(j.losses, n, j.N, loss);
    if (j.dscore) plumb_four_store(j.dscore, n, j.N, grad);
}

static int pointwise(const struct plumb_device *dev, const struct plumb_pointwise *a)
{
    if (a->N == 0) return PLUMB_OK;
    const struct pointwise_job j = { (int)a->loss,
                                     a->N,
                                     (float)a->pos_weight,
                                     a->divisor,
                                     (const float *)a->score.data,
                                     (const float *)a->target.data,
                                     (const float *)a->weight.data,
                                     (float *)a->losses.data,
                                     (float *)a->dscore.data };
    const unsigned blocks = (unsigned)plumb_ceil_div(a->N, 4 * BLOCK);
    return plumb_gpu_status(
        PLUMB_LAUNCH(pointwise_loss, blocks, BLOCK, 0, plumb_gpu_stream(dev), j), "pointwise");
}
PLUMB_GPU_OP(pointwise, plumb_pointwise);
