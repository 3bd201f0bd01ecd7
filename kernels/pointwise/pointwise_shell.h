/* A score's loss and gradient with its weight, f32 formulas: what the native code and the device's
 * share. */
#pragma once
#include "kernels/pointwise/pointwise_eval.h"

struct plumb_rating_result {
    float loss, grad;
};

PLUMB_HD struct plumb_rating_result plumb_rating_shell(int loss, const struct plumb_rating *p,
                                                       float weight, double divisor)
{
    struct plumb_rating_grad g = { 0 };
    struct plumb_rating_result r = { 0, 0 };
    if (weight == 0) return r;
    r.loss = plumb_saturate((double)weight * (double)plumb_finite(plumb_rating_eval(loss, p, &g)));
    r.grad = plumb_saturate((double)weight * (double)plumb_finite(g.dscore) / divisor);
    return r;
}
