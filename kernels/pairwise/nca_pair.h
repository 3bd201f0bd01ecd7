/* -log s(rw) - [log s(-rw) + log s(-rl)] / 2, r = beta u: each side is also judged alone.
 * arXiv:2402.05369, pairwise form. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_nca_pair(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    const plumb_real rw = plumb_finite(p->beta * p->uw), rl = plumb_finite(p->beta * p->ul);
    g->dw = p->beta * (plumb_sigmoid(rw) / 2 - plumb_sigmoid(-rw));
    g->dl = p->beta * plumb_sigmoid(rl) / 2;
    return plumb_softplus(-rw) + plumb_softplus(rw) / 2 + plumb_softplus(rl) / 2;
}
