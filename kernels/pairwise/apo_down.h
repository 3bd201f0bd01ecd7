/* s(rw) + 1 - s(rw - rl), r = beta u: both down, rejected further. arXiv:2408.06266 eq. 8. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_apo_down(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    const plumb_real rw = plumb_finite(p->beta * p->uw), z = plumb_finite(p->beta * p->delta);
    const plumb_real slope = plumb_sigmoid(z) * plumb_sigmoid(-z);
    g->dw = p->beta * (plumb_sigmoid(rw) * plumb_sigmoid(-rw) - slope);
    g->dl = p->beta * slope;
    return plumb_sigmoid(rw) + plumb_sigmoid(-z);
}
