/* 1 - s(rw) + s(rl), r = beta u: chosen up, rejected down. arXiv:2408.06266 eq. 7. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_apo_zero(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    const plumb_real rw = plumb_finite(p->beta * p->uw), rl = plumb_finite(p->beta * p->ul);
    g->dw = -p->beta * (plumb_sigmoid(rw) * plumb_sigmoid(-rw));
    g->dl = p->beta * (plumb_sigmoid(rl) * plumb_sigmoid(-rl));
    return plumb_sigmoid(-rw) + plumb_sigmoid(rl);
}
