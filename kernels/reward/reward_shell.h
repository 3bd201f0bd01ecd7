/* From a pair's scores to its loss and gradients, f32 formulas: what the native code and the
 * device's share. */
#pragma once
#include "kernels/reward/reward_eval.h"

#include <plumb/reward.h>

struct plumb_scores_options {
    int loss;
    float center, square, ties, floor, lapse, bias;
    double divisor;
};

struct plumb_scores_result {
    float loss, dchosen, drejected, danchor_chosen, danchor_rejected;
};

PLUMB_HD struct plumb_scores_result plumb_scores_result_none(void)
{
    const struct plumb_scores_result r = { 0, 0, 0, 0, 0 };
    return r;
}

static inline struct plumb_scores_options plumb_scores_options(const struct plumb_reward *a)
{
    const struct plumb_scores_options o = { .loss = (int)a->loss,
                                            .center = (float)a->center_coefficient,
                                            .square = (float)a->square_coefficient,
                                            .ties = (float)a->ties,
                                            .floor = (float)a->floor,
                                            .lapse = (float)a->lapse,
                                            .bias = (float)a->bias,
                                            .divisor = a->divisor };
    return o;
}

/* `p` holds the pair's own numbers; the options' come from `o`. */
PLUMB_HD struct plumb_scores_result plumb_scores_shell(const struct plumb_scores_options *o,
                                                       struct plumb_scores *p, float weight)
{
    struct plumb_scores_grad g = { 0, 0, 0, 0 };
    if (weight == 0) return plumb_scores_result_none();
    p->center = o->center, p->square = o->square;
    p->ties = o->ties, p->floor = o->floor, p->lapse = o->lapse, p->bias = o->bias;
    const double value = (double)plumb_finite(plumb_scores_eval(o->loss, p, &g));
    const double scale = (double)weight / o->divisor;
    const struct plumb_scores_result r = {
        plumb_saturate((double)weight * value),
        plumb_saturate(scale * (double)plumb_finite(g.dchosen)),
        plumb_saturate(scale * (double)plumb_finite(g.drejected)),
        plumb_saturate(scale * (double)plumb_finite(g.danchor_chosen)),
        plumb_saturate(scale * (double)plumb_finite(g.danchor_rejected)),
    };
    return r;
}
