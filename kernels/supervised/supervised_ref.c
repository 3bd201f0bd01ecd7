/* Oracle of the likelihood losses: plain loops in f64; for a yardstick the formula runs in plain
 * f32. */
#define PLUMB_REAL_F64
#include "kernels/supervised/supervised_eval.h"

#include <plumb/supervised.h>

#include "kernels/supervised/supervised_plain.h"

void plumb_supervised_ref(const struct plumb_supervised *a, enum plumb_dtype round)
{
    const double *logp = a->logp.data, *weight = a->weight.data;
    const double *reward = a->reward.data, *value = a->value.data;
    double *losses = a->losses.data, *dlogp = a->dlogp.data;
#pragma omp parallel for schedule(static)
    for (int64_t m = 0; m < a->M; m++) {
        const bool trained = !a->target || a->target[m] >= 0;
        const struct plumb_token p = { .logp = logp[m],
                                       .reward = reward ? reward[m] : 0,
                                       .value = value ? value[m] : 0,
                                       .beta = a->beta,
                                       .max_weight = a->max_weight };
        const double w = weight ? weight[m] : 1;
        struct plumb_token_grad g = { 0 };
        double loss = 0;
        if (trained)
            loss = round == PLUMB_F64
                       ? plumb_token_eval((int)a->loss, &p, &g)
                       : plumb_token_plain((int)a->loss, (const double *)&p, (double *)&g);
        losses[m] = trained ? plumb_dtype_round(round, w * loss) : 0;
        if (dlogp)
            dlogp[m] = trained ? plumb_dtype_round(round, plumb_dtype_round(round, w * g.dlogp) /
                                                              a->divisor)
                               : 0;
    }
}
