/* Native reward-model losses: formulas in f32, pairs in parallel. Compiled once per instruction
 * set. */
#include <plumb/reward.h>

#include "kernels/op.h"
#include "kernels/reward/reward_shell.h"

int PLUMB_CPU_FN(plumb_reward_cpu)(const struct plumb_reward *a)
{
    const float *score = a->score.data, *margin = a->margin.data;
    float *losses = a->losses.data, *dscore = a->dscore.data;
    const float center = (float)a->center_coefficient;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < a->B; i++) {
        const struct plumb_scores p = { score[2 * i], score[2 * i + 1], margin ? margin[i] : 0.0f,
                                        center };
        const struct plumb_scores_result r = plumb_scores_shell((int)a->loss, &p, a->divisor);
        losses[i] = r.loss;
        if (!dscore) continue;
        dscore[2 * i] = r.dchosen;
        dscore[2 * i + 1] = r.drejected;
    }
    return PLUMB_OK;
}
