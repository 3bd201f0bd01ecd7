/* -log s(beta (delta - lambda max(0, -uw))): DPO that holds the chosen side's likelihood up.
 * arXiv:2402.13228. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_dpop(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    plumb_real dz;
    const plumb_real pull = p->uw < 0 ? p->lambda : 0;
    const plumb_real z = plumb_finite(p->beta * (p->delta + pull * p->uw));
    const plumb_real loss = plumb_pair_logistic(z, 0, &dz);
    g->dw = p->beta * dz * (1 + pull);
    g->dl = -p->beta * dz;
    return loss;
}
