/* s(-z), z = beta delta: bounded, so that pairs far on the wrong side are given up. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_ramp(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    const plumb_real z = plumb_finite(p->beta * p->delta);
    g->dw = -p->beta * (plumb_sigmoid(z) * plumb_sigmoid(-z));
    g->dl = -g->dw;
    return plumb_sigmoid(-z);
}
