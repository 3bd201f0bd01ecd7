/* Oracle of the divergence's estimators: plain loops in f64; for a yardstick the formula runs in
 * plain f32. */
#define PLUMB_REAL_F64
#include "kernels/kl/kl_eval.h"

#include <plumb/kl.h>

#include "kernels/kl/kl_plain.h"

void plumb_kl_ref(const struct plumb_kl *a, enum plumb_dtype round)
{
    const double *logp = a->logp.data, *ref = a->ref_logp.data, *weight = a->weight.data;
    const double *old = a->old_logp.data ? a->old_logp.data : logp;
    double *kl = a->kl.data, *dlogp = a->dlogp.data;
#pragma omp parallel for schedule(static)
    for (int64_t m = 0; m < a->M; m++) {
        const struct plumb_kl_token p = { plumb_dtype_round(round, logp[m] - ref[m]),
                                          plumb_dtype_round(round, logp[m] - old[m]), a->clamp };
        const double w = weight ? weight[m] : 1;
        struct plumb_kl_grad g = { 0 };
        const double value = round == PLUMB_F64 ? plumb_kl_eval((int)a->estimator, &p, &g)
                                                : plumb_kl_plain((int)a->estimator,
                                                                 (const double *)&p, (double *)&g);
        kl[m] = plumb_dtype_round(round, w * value);
        if (!dlogp) continue;
        dlogp[m] = plumb_dtype_round(round, plumb_dtype_round(round, w * g.dlp) / a->divisor);
    }
}
