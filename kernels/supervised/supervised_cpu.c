/* Native likelihood losses: formulas in f32, tokens in parallel. Compiled once per instruction
 * set. */
#include <plumb/supervised.h>

#include "kernels/op.h"
#include "kernels/supervised/supervised_shell.h"

int PLUMB_CPU_FN(plumb_supervised_cpu)(const struct plumb_supervised *a)
{
    const float *logp = a->logp.data, *weight = a->weight.data;
    const float *reward = a->reward.data, *value = a->value.data;
    float *losses = a->losses.data, *dlogp = a->dlogp.data;
#pragma omp parallel for schedule(static)
    for (int64_t m = 0; m < a->M; m++) {
        const struct plumb_token p = { .logp = logp[m],
                                       .reward = reward ? reward[m] : 0,
                                       .value = value ? value[m] : 0,
                                       .beta = (float)a->beta,
                                       .max_weight = (float)a->max_weight };
        struct plumb_token_result r = { 0 };
        if (!a->target || a->target[m] >= 0)
            r = plumb_token_shell((int)a->loss, &p, weight ? weight[m] : 1, a->divisor);
        losses[m] = r.loss;
        if (dlogp) dlogp[m] = r.grad;
    }
    return PLUMB_OK;
}
