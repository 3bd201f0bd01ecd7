/* -log s(beta (uw - lambda ul)): the rejected side discounted by lambda. Contrastive preference
 * learning, arXiv:2310.13639 (sums without a reference, or log-ratios); DPO-Shift has the same
 * form. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_cpl(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    plumb_real dz;
    const plumb_real z = plumb_finite(p->beta * (p->delta + (1 - p->lambda) * p->ul));
    const plumb_real loss = plumb_pair_logistic(z, 0, &dz);
    g->dw = p->beta * dz;
    g->dl = -p->lambda * g->dw;
    return loss;
}
