/* -log s(beta delta + alpha (|yw| - |yl|)): the reward pays alpha for a token. arXiv:2403.19159;
 * some tables print the term with the other sign: a negative alpha here. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_r_dpo(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    plumb_real dz;
    const plumb_real z = plumb_finite(p->beta * p->delta + p->alpha * (p->nw - p->nl));
    const plumb_real loss = plumb_pair_logistic(z, 0, &dz);
    g->dw = p->beta * dz;
    g->dl = -g->dw;
    return loss;
}
