/* Oracle of the reward-model losses: plain loops in f64; for a yardstick the formula runs in plain
 * f32. */
#define PLUMB_REAL_F64
#include "kernels/reward/reward_eval.h"

#include <plumb/reward.h>

#include "kernels/reward/reward_plain.h"

static double at(const struct plumb_tensor *t, int64_t i, double absent)
{
    return t->data ? ((const double *)t->data)[i] : absent;
}

static struct plumb_scores pair_of(const struct plumb_reward *a, int64_t i)
{
    return (struct plumb_scores){ .chosen = at(&a->score, 2 * i, 0),
                                  .rejected = at(&a->score, 2 * i + 1, 0),
                                  .margin = at(&a->margin, i, 0),
                                  .target = at(&a->target, i, 0),
                                  .sign_chosen = at(&a->sign, 2 * i, 0),
                                  .sign_rejected = at(&a->sign, 2 * i + 1, 0),
                                  .anchor_chosen = at(&a->anchor, 2 * i, 0),
                                  .anchor_rejected = at(&a->anchor, 2 * i + 1, 0),
                                  .center = a->center_coefficient,
                                  .square = a->square_coefficient,
                                  .ties = a->ties,
                                  .floor = a->floor,
                                  .lapse = a->lapse,
                                  .bias = a->bias };
}

void plumb_reward_ref(const struct plumb_reward *a, enum plumb_dtype round)
{
    double *losses = a->losses.data, *dscore = a->dscore.data, *danchor = a->danchor.data;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < a->B; i++) {
        const struct plumb_scores p = pair_of(a, i);
        struct plumb_scores_grad g = { 0 };
        const double weight = at(&a->weight, i, 1);
        double loss = 0;
        if (weight != 0)
            loss = round == PLUMB_F64
                       ? plumb_scores_eval((int)a->loss, &p, &g)
                       : plumb_scores_plain((int)a->loss, (const double *)&p, (double *)&g);
        losses[i] = plumb_dtype_round(round, weight * loss);
        const double scale = plumb_dtype_round(round, weight / a->divisor);
        if (dscore) {
            dscore[2 * i] = plumb_dtype_round(round, scale * g.dchosen);
            dscore[2 * i + 1] = plumb_dtype_round(round, scale * g.drejected);
        }
        if (danchor) {
            danchor[2 * i] = plumb_dtype_round(round, scale * g.danchor_chosen);
            danchor[2 * i + 1] = plumb_dtype_round(round, scale * g.danchor_rejected);
        }
    }
}
