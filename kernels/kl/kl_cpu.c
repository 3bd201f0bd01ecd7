/* Native estimators of the divergence: formulas in f32, tokens in parallel. Compiled once per
 * instruction set. */
#include <plumb/kl.h>

#include "kernels/kl/kl_shell.h"
#include "kernels/op.h"

int PLUMB_CPU_FN(plumb_kl_cpu)(const struct plumb_kl *a)
{
    const struct plumb_kl_options o = { (int)a->estimator, (float)a->clamp, a->divisor };
    const float *logp = a->logp.data, *ref = a->ref_logp.data;
    const float *old = a->old_logp.data ? a->old_logp.data : logp;
    const float *weight = a->weight.data;
    float *kl = a->kl.data, *dlogp = a->dlogp.data;
#pragma omp parallel for schedule(static)
    for (int64_t m = 0; m < a->M; m++) {
        const struct plumb_kl_result r = plumb_kl_shell(&o, logp[m], ref[m], old[m],
                                                        weight ? weight[m] : 1);
        kl[m] = r.kl;
        if (dlogp) dlogp[m] = r.grad;
    }
    return PLUMB_OK;
}
