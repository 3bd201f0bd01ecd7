/* A token's loss and gradient with its completion's weight, f32 formulas: what the native code and
 * the device's share. */
#pragma once
#include "kernels/tokenwise/tokenwise_eval.h"

#include <plumb/tokenwise.h>

struct plumb_graded_options { /* by value to a kernel */
    int loss;
    float undesirable_weight, clip, clamp_negative, normalize;
};

struct plumb_graded_row { /* of a completion */
    bool desirable;
    float target;
    double weight, scale; /* of the loss and of the gradient */
};

struct plumb_graded_result {
    double loss;
    float grad;
};

static inline struct plumb_graded_options plumb_graded_options(const struct plumb_tokenwise *a)
{
    const struct plumb_graded_options o = { (int)a->loss, (float)a->undesirable_weight,
                                            (float)a->clip, (float)a->clamp_negative,
                                            (float)a->normalize };
    return o;
}

PLUMB_HD struct plumb_graded_result plumb_graded_shell(const struct plumb_graded_options *o,
                                                       const struct plumb_graded_row *row, float lp,
                                                       float ref)
{
    const struct plumb_graded p = {
        .lp = lp,
        .u = plumb_finite(lp - ref),
        .desirable = row->desirable ? 1.0f : 0.0f,
        .target = row->target,
        .undesirable_weight = o->undesirable_weight,
        .clip = o->clip,
        .clamp_negative = o->clamp_negative,
        .normalize = o->normalize,
    };
    struct plumb_graded_grad g = { 0 };
    const double loss = (double)plumb_finite(plumb_graded_eval(o->loss, &p, &g));
    const struct plumb_graded_result r = {
        row->weight * loss, plumb_saturate(row->scale * (double)plumb_finite(g.dlp))
    };
    return r;
}
