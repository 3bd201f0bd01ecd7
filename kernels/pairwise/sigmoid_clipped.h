/* -log s(z), z = beta delta kept within -gamma .. gamma, outside of which nothing is learnt. With
 * the link e^u + u and gamma twice the largest reward it is what chi-PO (arXiv:2407.13399) is
 * recalled as. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_sigmoid_clipped(const struct plumb_pair *p,
                                               struct plumb_pair_grad *g)
{
    plumb_real dz;
    const plumb_real z = p->beta * p->delta;
    const bool high = z > p->gamma, low = z < -p->gamma;
    const plumb_real kept = high ? p->gamma : low ? -p->gamma : z;
    const plumb_real loss = plumb_pair_logistic(kept, 0, &dz);
    g->dw = high || low ? 0 : p->beta * dz;
    g->dl = -g->dw;
    return loss;
}
