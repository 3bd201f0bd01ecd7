/* Device code of the divergence's estimators: a thread takes four tokens. */
#include <plumb/kl.h>

#include "kernels/gpu_sequence.h"
#include "kernels/kl/kl_shell.h"

enum { BLOCK = 256 };

struct kl_job {
    struct plumb_kl_options options;
    int64_t M;
    const float *logp, *ref, *old, *weight; /* the last two may be NULL */
    float *kl, *dlogp;
};

__global__ void __launch_bounds__(BLOCK) kl_tokens(const __grid_constant__ struct kl_job j)
{
    const int64_t m = 4 * ((int64_t)blockIdx.x * BLOCK + threadIdx.x);
    if (m >= j.M) return;
    const plumb_vec<float> logp = plumb_four_load(j.logp, m, j.M);
    const plumb_vec<float> ref = plumb_four_load(j.ref, m, j.M);
    plumb_vec<float> old = logp, weight = { { 1, 1, 1, 1 } }, kl, grad;
    if (j.old) old = plumb_four_load(j.old, m, j.M);
    if (j.weight) weight = plumb_four_load(j.weight, m, j.M);
    PLUMB_UNROLL for (int k = 0; k < 4; k++)
    {
        const struct plumb_kl_result r = plumb_kl_shell(&j.options, logp.v[k], ref.v[k], old.v[k],
                                                        weight.v[k]);
        kl.v[k] = r.kl, grad.v[k] = r.grad;
    }
    plumb_four_store(j.kl, m, j.M, kl);
    if (j.dlogp) plumb_four_store(j.dlogp, m, j.M, grad);
}

static int kl(const struct plumb_device *dev, const struct plumb_kl *a)
{
    if (a->M == 0) return PLUMB_OK;
    const bool weighted = a->estimator == PLUMB_KL_K3_IMPORTANCE_WEIGHTED;
    const struct kl_job j = { { (int)a->estimator, (float)a->clamp, a->divisor },
                              a->M,
                              (const float *)a->logp.data,
                              (const float *)a->ref_logp.data,
                              weighted ? (const float *)a->old_logp.data : NULL,
                              (const float *)a->weight.data,
                              (float *)a->kl.data,
                              (float *)a->dlogp.data };
    const unsigned blocks = (unsigned)plumb_ceil_div(a->M, 4 * BLOCK);
    return plumb_gpu_status(PLUMB_LAUNCH(kl_tokens, blocks, BLOCK, 0, plumb_gpu_stream(dev), j),
                            "kl");
}
PLUMB_GPU_OP(kl, plumb_kl);
