/* -log s(rw - d) - log s(d - rl), r = beta u. d is the running mean of rewards that the caller
 * keeps; TRL's dpo has none: 0. arXiv:2404.04656. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_bco_pair(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    const plumb_real rw = plumb_finite(p->beta * p->uw - p->shift);
    const plumb_real rl = plumb_finite(p->beta * p->ul - p->shift);
    g->dw = -p->beta * plumb_sigmoid(-rw);
    g->dl = p->beta * plumb_sigmoid(rl);
    return plumb_softplus(-rw) + plumb_softplus(rl);
}
