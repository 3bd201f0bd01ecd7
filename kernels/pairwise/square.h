/* (1 - z)^2, z = beta delta: the squared loss of arXiv:2402.05749. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_square(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    const plumb_real gap = 1 - p->beta * p->delta;
    g->dw = -2 * p->beta * gap;
    g->dl = -g->dw;
    return gap * gap;
}
