/* Oracle of the pointwise losses: plain loops in f64; for a yardstick the formula runs in plain
 * f32. */
#define PLUMB_REAL_F64
#include "kernels/pointwise/pointwise_eval.h"

#include <plumb/pointwise.h>

#include "kernels/pointwise/pointwise_plain.h"

void plumb_pointwise_ref(const struct plumb_pointwise *a, enum plumb_dtype round)
{
    const double *score = a->score.data, *target = a->target.data, *weight = a->weight.data;
    double *losses = a->losses.data, *dscore = a->dscore.data;
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < a->N; n++) {
        const struct plumb_rating p = { score[n], target[n], a->pos_weight };
        const double w = weight ? weight[n] : 1;
        struct plumb_rating_grad g = { 0 };
        double loss = 0;
        if (w != 0)
            loss = round == PLUMB_F64
                       ? plumb_rating_eval((int)a->loss, &p, &g)
                       : plumb_rating_plain((int)a->loss, (const double *)&p, (double *)&g);
        losses[n] = plumb_dtype_round(round, w * loss);
        if (!dscore) continue;
        const double scaled = plumb_dtype_round(round, w * g.dscore);
        dscore[n] = plumb_dtype_round(round, scaled / a->divisor);
    }
}
