/* SimPO with the reward R(m) = (1 - e^(-alpha m)) / alpha of a mean log-prob m; alpha = 0 is SimPO.
 * arXiv:2501.03884. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_alphapo(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    plumb_real dz;
    const plumb_real a = p->alpha, mw = p->lw / p->nw, ml = p->ll / p->nl;
    const plumb_real rw = a != 0 ? plumb_finite(-plumb_expm1(-a * mw) / a) : mw;
    const plumb_real rl = a != 0 ? plumb_finite(-plumb_expm1(-a * ml) / a) : ml;
    const plumb_real z = plumb_finite(p->beta * (rw - rl) - p->gamma - p->margin);
    const plumb_real loss = plumb_pair_logistic(z, p->label_smoothing, &dz);
    g->dw = p->beta * dz * plumb_finite(plumb_exp(-a * mw)) / p->nw;
    g->dl = -p->beta * dz * plumb_finite(plumb_exp(-a * ml)) / p->nl;
    return loss;
}
