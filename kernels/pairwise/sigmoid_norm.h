/* -log s(z), z = beta (uw / |yw| - ul / |yl|): DPO on means over tokens. arXiv:2411.15124. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_sigmoid_norm(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    plumb_real dz;
    const plumb_real z = plumb_finite(p->beta * p->mean_delta);
    const plumb_real loss = plumb_pair_logistic(z, 0, &dz);
    g->dw = p->beta * dz / p->nw;
    g->dl = -p->beta * dz / p->nl;
    return loss;
}
