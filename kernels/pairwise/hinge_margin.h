/* max(0, 1 + margin - beta delta): MODPO's hinge form, arXiv:2310.03708. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_hinge_margin(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    const plumb_real z = p->beta * p->delta - p->margin;
    g->dw = z >= 1 ? 0 : -p->beta;
    g->dl = -g->dw;
    return z >= 1 ? 0 : 1 - z;
}
