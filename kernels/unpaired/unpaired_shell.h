/* From the sums of a sequence to a completion's loss and gradient, f32 formulas: what the native
 * code and the device's share. */
#pragma once
#include "kernels/unpaired/unpaired_eval.h"

#include <plumb/unpaired.h>

#include "kernels/sequence.h"

struct plumb_completion_options {
    int loss;
    double beta, desirable_weight, undesirable_weight, divisor;
};

struct plumb_completion_result {
    float loss;
    float up; /* gradient of each token */
};

static inline struct plumb_completion_options plumb_completion_options(
    const struct plumb_unpaired *a)
{
    const struct plumb_completion_options o = { (int)a->loss, a->beta, a->desirable_weight,
                                                a->undesirable_weight, a->divisor };
    return o;
}

PLUMB_HD struct plumb_completion_result plumb_completion_shell(
    const struct plumb_completion_options *o, const struct plumb_sequence *q, bool desirable,
    float kl)
{
    const struct plumb_completion p = {
        .lp = plumb_saturate(q->logp),
        .u = plumb_saturate(q->ratio),
        .desirable = desirable ? 1.0f : 0.0f,
        .kl = kl,
        .beta = (float)o->beta,
        .desirable_weight = (float)o->desirable_weight,
        .undesirable_weight = (float)o->undesirable_weight,
    };
    struct plumb_completion_grad g = { 0 };
    const float loss = plumb_finite(plumb_completion_eval(o->loss, &p, &g));
    const struct plumb_completion_result r = { loss, plumb_saturate((double)plumb_finite(g.dlp) /
                                                                    o->divisor) };
    return r;
}
