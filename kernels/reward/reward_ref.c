/* Oracle of the reward-model losses: plain loops in f64; for a yardstick the formula runs in plain
 * f32. */
#define PLUMB_REAL_F64
#include "kernels/reward/reward_eval.h"

#include <plumb/reward.h>

#include "kernels/reward/reward_plain.h"

void plumb_reward_ref(const struct plumb_reward *a, enum plumb_dtype round)
{
    const double *score = a->score.data, *margin = a->margin.data;
    double *losses = a->losses.data, *dscore = a->dscore.data;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < a->B; i++) {
        const struct plumb_scores p = { score[2 * i], score[2 * i + 1], margin ? margin[i] : 0,
                                        a->center_coefficient };
        struct plumb_scores_grad g = { 0 };
        losses[i] = round == PLUMB_F64
                        ? plumb_scores_eval((int)a->loss, &p, &g)
                        : plumb_scores_plain((int)a->loss, (const double *)&p, (double *)&g);
        if (!dscore) continue;
        dscore[2 * i] = plumb_dtype_round(round, g.dchosen / a->divisor);
        dscore[2 * i + 1] = plumb_dtype_round(round, g.drejected / a->divisor);
    }
}
