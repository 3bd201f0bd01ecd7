/* [-(1 - e) log s(z) + e log s(-z)] / (1 - 2e), z = beta delta: unbiased when labels flip with
 * probability e < 1/2. Unbounded below for e > 0. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_robust(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    const plumb_real z = plumb_finite(p->beta * p->delta), e = p->label_smoothing;
    g->dw = -p->beta * ((1 - e) * plumb_sigmoid(-z) + e * plumb_sigmoid(z)) / (1 - 2 * e);
    g->dl = -g->dw;
    return ((1 - e) * plumb_softplus(-z) - e * plumb_softplus(z)) / (1 - 2 * e);
}
