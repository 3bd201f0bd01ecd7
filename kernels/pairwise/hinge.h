/* max(0, 1 - beta delta); slope 0 at the corner. Written so that NaN stays NaN. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_hinge(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    const plumb_real z = p->beta * p->delta;
    g->dw = z >= 1 ? 0 : -p->beta;
    g->dl = -g->dw;
    return z >= 1 ? 0 : 1 - z;
}
