/* A token's clipped error with its weight, f32 in f64: what the native code and the device's share.
 */
#pragma once
#include "kernels/value_loss/value_token.h"

struct plumb_value_term {
    double loss; /* undivided */
    double dv;
    int clipped;
};

PLUMB_HD struct plumb_value_term plumb_value_term_of(float v, float old, float g, float clip,
                                                     float weight)
{
    const struct plumb_value_token p = { v, old, g, clip };
    struct plumb_value_grad d = { 0, 0 };
    const double loss = (double)weight * (double)plumb_finite(plumb_value_error(&p, &d));
    const struct plumb_value_term t = { loss, (double)weight * (double)plumb_finite(d.dv),
                                        d.clipped > 0 };
    return t;
}

/* d loss / d (a token's term) in a row of `tokens`; row means where `means`. */
PLUMB_HD double plumb_value_scale(double divisor, bool means, double tokens)
{
    return divisor > 0 ? 1 / divisor / (means && tokens > 1 ? tokens : 1) : 0;
}

PLUMB_HD float plumb_value_part(double sum, bool means, double tokens)
{
    return plumb_saturate(means && tokens > 1 ? sum / tokens : sum);
}
