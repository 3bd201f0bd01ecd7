/* Native likelihood losses: formulas in f32, tokens in parallel. Compiled once per instruction
 * set. */
#include "kernels/supervised/supervised_eval.h"

#include <plumb/supervised.h>

#include "kernels/op.h"

int PLUMB_CPU_FN(plumb_supervised_cpu)(const struct plumb_supervised *a)
{
    const float *logp = a->logp.data, *weight = a->weight.data;
    float *losses = a->losses.data, *dlogp = a->dlogp.data;
#pragma omp parallel for schedule(static)
    for (int64_t m = 0; m < a->M; m++) {
        double loss = 0, grad = 0;
        if (!a->target || a->target[m] >= 0) {
            const struct plumb_token p = { logp[m] };
            const double w = weight ? (double)weight[m] : 1;
            struct plumb_token_grad g = { 0 };
            loss = w * (double)plumb_finite(plumb_token_eval((int)a->loss, &p, &g));
            grad = w * (double)plumb_finite(g.dlogp) / a->divisor;
        }
        losses[m] = plumb_saturate(loss);
        if (dlogp) dlogp[m] = plumb_saturate(grad);
    }
    return PLUMB_OK;
}
