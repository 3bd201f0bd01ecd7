/* -log s(beta (delta - alpha (kl - sg[kw]))): only the rejected side's KL is learnt from.
 * arXiv:2404.11999 eq. 15. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_tdpo2(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    plumb_real dz;
    const plumb_real z = plumb_finite(p->beta * (p->delta - p->alpha * (p->kl - p->kw)));
    const plumb_real loss = plumb_pair_logistic(z, 0, &dz);
    g->dw = p->beta * dz;
    g->dl = -g->dw;
    g->dkl = p->alpha * g->dl;
    return loss;
}
