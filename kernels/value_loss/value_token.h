/* The clipped error of one predicted value. */
#pragma once
#include "kernels/scalar.h"

struct plumb_value_token { /* plumb_real only */
    plumb_real v, old, g;  /* predicted, predicted before, wanted */
    plumb_real clip;       /* 0 = none */
};

struct plumb_value_grad {
    plumb_real dv;
    plumb_real clipped; /* 1: the clipped error is the larger one; it has no slope */
};

PLUMB_HD plumb_real plumb_value_error(const struct plumb_value_token *p, struct plumb_value_grad *g)
{
    const plumb_real low = p->old - p->clip, high = p->old + p->clip;
    const plumb_real error = p->v - p->g;
    const plumb_real other = (p->v < low ? low : p->v > high ? high : p->v) - p->g;
    if (p->clip > 0 && plumb_abs(other) > plumb_abs(error)) {
        g->clipped = 1;
        return other * other / 2;
    }
    g->dv = error;
    return error * error / 2;
}
