/* Device code of the likelihood losses: a thread takes four tokens. */
#include <plumb/supervised.h>

#include "kernels/gpu_sequence.h"
#include "kernels/supervised/supervised_shell.h"

enum { BLOCK = 256 };

struct supervised_job {
    int loss;
    int64_t M;
    double divisor;
    const float *logp, *weight, *reward, *value;
    float beta, max_weight;
    const int32_t *target;
    float *losses, *dlogp;
};

__global__ void __launch_bounds__(BLOCK)
    supervised_loss(const __grid_constant__ struct supervised_job j)
{
    const int64_t m = 4 * ((int64_t)blockIdx.x * BLOCK + threadIdx.x);
    if (m >= j.M) return;
    const plumb_vec<float> logp = plumb_four_load(j.logp, m, j.M);
    plumb_vec<float> weight = { { 1, 1, 1, 1 } }, loss, grad;
    plumb_vec<float> reward = { { 0, 0, 0, 0 } }, value = reward;
    plumb_vec<int32_t> target = { { 0, 0, 0, 0 } };
    if (j.weight) weight = plumb_four_load(j.weight, m, j.M);
    if (j.target) target = plumb_four_load(j.target, m, j.M);
    if (j.reward) reward = plumb_four_load(j.reward, m, j.M);
    if (j.value) value = plumb_four_load(j.value, m, j.M);
    PLUMB_UNROLL for (int k = 0; k < 4; k++)
    {
        struct plumb_token_result r = { 0, 0 };
        const struct plumb_token p = { logp.v[k], reward.v[k], value.v[k], j.beta, j.max_weight };
        if (target.v[k] >= 0) r = plumb_token_shell(j.loss, &p, weight.v[k], j.divisor);
        loss.v[k] = r.loss, grad.v[k] = r.grad;
    }
    plumb_four_store(j.losses, m, j.M, loss);
    if (j.dlogp) plumb_four_store(j.dlogp, m, j.M, grad);
}

static int supervised(const struct plumb_device *dev, const struct plumb_supervised *a)
{
    if (a->M == 0) return PLUMB_OK;
    const struct supervised_job j = { (int)a->loss,
                                      a->M,
                                      a->divisor,
                                      (const float *)a->logp.data,
                                      (const float *)a->weight.data,
                                      (const float *)a->reward.data,
                                      (const float *)a->value.data,
                                      (float)a->beta,
                                      (float)a->max_weight,
                                      a->target,
                                      (float *)a->losses.data,
                                      (float *)a->dlogp.data };
    const unsigned blocks = (unsigned)plumb_ceil_div(a->M, 4 * BLOCK);
    return plumb_gpu_status(
        PLUMB_LAUNCH(supervised_loss, blocks, BLOCK, 0, plumb_gpu_stream(dev), j), "supervised");
}
PLUMB_GPU_OP(supervised, plumb_supervised);
