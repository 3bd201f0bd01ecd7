/* max(0, 1 - z)^2, z = beta delta: the truncated quadratic loss of arXiv:2402.05749. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_hinge_square(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    const plumb_real z = p->beta * p->delta, gap = z >= 1 ? 0 : 1 - z;
    g->dw = -2 * p->beta * gap;
    g->dl = -g->dw;
    return gap * gap;
}
