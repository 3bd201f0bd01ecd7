/* A token's estimate and gradient with its weight, f32 formulas: what the native code and the
 * device's share. */
#pragma once
#include "kernels/kl/kl_eval.h"

struct plumb_kl_options {
    int estimator;
    float clamp;
    double divisor;
};

struct plumb_kl_result {
    float kl, grad;
};

PLUMB_HD struct plumb_kl_result plumb_kl_shell(const struct plumb_kl_options *o, float logp,
                                               float ref, float old, float weight)
{
    const struct plumb_kl_token p = { plumb_finite(logp - ref), plumb_finite(logp - old),
                                      o->clamp };
    struct plumb_kl_grad g = { 0, 0 };
    const double value = (double)plumb_finite(plumb_kl_eval(o->estimator, &p, &g));
    const double slope = (double)plumb_finite(g.dlp);
    const struct plumb_kl_result r = { plumb_saturate((double)weight * value),
                                       plumb_saturate((double)weight * slope / o->divisor) };
    return r;
}
