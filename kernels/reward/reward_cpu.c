/* Native reward-model losses: formulas in f32, pairs in parallel. Compiled once per instruction
 * set. */
#include "kernels/reward/reward_eval.h"

#include <plumb/reward.h>

#include "kernels/op.h"

int PLUMB_CPU_FN(plumb_reward_cpu)(const struct plumb_reward *a)
{
    const float *score = a->score.data, *margin = a->margin.data;
    float *losses = a->losses.data, *dscore = a->dscore.data;
    const float center = (float)a->center_coefficient;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < a->B; i++) {
        const struct plumb_scores p = { score[2 * i], score[2 * i + 1], margin ? margin[i] : 0.0f,
                                        center };
        struct plumb_scores_grad g = { 0 };
        losses[i] = plumb_finite(plumb_scores_eval((int)a->loss, &p, &g));
        if (!dscore) continue;
        dscore[2 * i] = plumb_saturate((double)plumb_finite(g.dchosen) / a->divisor);
        dscore[2 * i + 1] = plumb_saturate((double)plumb_finite(g.drejected) / a->divisor);
    }
    return PLUMB_OK;
}
