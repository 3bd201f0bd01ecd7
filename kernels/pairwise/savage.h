/* s(-z)^2, z = beta delta: the savage loss of arXiv:2402.05749. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_savage(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    const plumb_real z = plumb_finite(p->beta * p->delta), s = plumb_sigmoid(-z);
    g->dw = -2 * p->beta * s * s * plumb_sigmoid(z);
    g->dl = -g->dw;
    return s * s;
}
