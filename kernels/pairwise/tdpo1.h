/* -log s(beta (delta - (kl - kw))), k = KL(reference || policy) summed over a completion's
 * positions. arXiv:2404.11999 eq. 13. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_tdpo1(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    plumb_real dz;
    const plumb_real z = plumb_finite(p->beta * (p->delta - (p->kl - p->kw)));
    const plumb_real loss = plumb_pair_logistic(z, 0, &dz);
    g->dw = g->dkw = p->beta * dz;
    g->dl = g->dkl = -g->dw;
    return loss;
}
