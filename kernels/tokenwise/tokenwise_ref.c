/* Oracle of the losses by token: plain loops in f64; for a yardstick the formula runs in plain
 * f32. */
#define PLUMB_REAL_F64
#include "kernels/tokenwise/tokenwise_eval.h"

#include <plumb/tokenwise.h>

#include "kernels/tokenwise/tokenwise_plain.h"

static double input(const struct plumb_tensor *t, int64_t i, double absent)
{
    return t->data ? ((const double *)t->data)[i] : absent;
}

static void one_completion(const struct plumb_tokenwise *a, enum plumb_dtype round, int64_t i)
{
    const double *logp = a->logp.data, weight = input(&a->weight, i, 1);
    double *dlogp = a->dlogp.data, loss = 0;
    for (int32_t t = a->offset[i]; t < a->offset[i + 1]; t++) {
        const struct plumb_graded p = {
            .lp = logp[t],
            .u = plumb_dtype_round(round, logp[t] - input(&a->ref_logp, t, 0)),
            .desirable = a->label ? a->label[i] : 0,
            .target = input(&a->target, i, 0),
            .undesirable_weight = a->undesirable_weight,
            .clip = a->clip,
            .clamp_negative = a->clamp_negative,
            .normalize = a->normalize,
        };
        struct plumb_graded_grad g = { 0 };
        const double value = round == PLUMB_F64
                                 ? plumb_graded_eval((int)a->loss, &p, &g)
                                 : plumb_graded_plain((int)a->loss, (const double *)&p,
                                                      (double *)&g);
        loss = plumb_dtype_round(round, loss + weight * value);
        if (dlogp) dlogp[t] = plumb_dtype_round(round, weight * g.dlp / a->divisor);
    }
    ((double *)a->losses.data)[i] = loss;
}

void plumb_tokenwise_ref(const struct plumb_tokenwise *a, enum plumb_dtype round)
{
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < a->B; i++)
        one_completion(a, round, i);
}
