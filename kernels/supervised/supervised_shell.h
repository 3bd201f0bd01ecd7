/* A token's loss and gradient with its weight, f32 formulas: what the native code and the device's
 * share. */
#pragma once
#include "kernels/supervised/supervised_eval.h"

struct plumb_token_result {
    float loss, grad;
};

PLUMB_HD struct plumb_token_result plumb_token_shell(int loss, const struct plumb_token *p,
                                                     float weight, double divisor)
{
    struct plumb_token_grad g = { 0 };
    const double value = (double)plumb_finite(plumb_token_eval(loss, p, &g));
    const struct plumb_token_result r = { plumb_saturate((double)weight * value),
                                          plumb_saturate((double)weight *
                                                         (double)plumb_finite(g.dlogp) / divisor) };
    return r;
}
