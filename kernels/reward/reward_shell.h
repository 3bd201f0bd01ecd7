/* From a pair's scores to its loss and gradients, f32 formulas: what the native code and the
 * device's share. */
#pragma once
#include "kernels/reward/reward_eval.h"

struct plumb_scores_result {
    float loss, dchosen, drejected;
};

PLUMB_HD struct plumb_scores_result plumb_scores_shell(int loss, const struct plumb_scores *p,
                                                       double divisor)
{
    struct plumb_scores_grad g = { 0, 0 };
    const float value = plumb_finite(plumb_scores_eval(loss, p, &g));
    const struct plumb_scores_result r = {
        value, plumb_saturate((double)plumb_finite(g.dchosen) / divisor),
        plumb_saturate((double)plumb_finite(g.drejected) / divisor)
    };
    return r;
}
