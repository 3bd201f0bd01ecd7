/* Label-smoothed -log s(z), z = beta (lw / |yw| - ll / |yl|) - gamma - margin: no reference.
 * arXiv:2405.14734; a margin from the reference's gap makes it alpha-DPO, arXiv:2410.10148. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_simpo(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    plumb_real dz;
    const plumb_real z = plumb_finite(p->beta * (p->lw / p->nw - p->ll / p->nl) - p->gamma -
                                      p->margin);
    const plumb_real loss = plumb_pair_logistic(z, p->label_smoothing, &dz);
    g->dw = p->beta * dz / p->nw;
    g->dl = -p->beta * dz / p->nl;
    return loss;
}
