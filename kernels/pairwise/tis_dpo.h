/* -log s(beta (delta - alpha (kw - kl))), log-ratios and k = KL(policy || reference) of weighted
 * tokens: direction and sign differ from TDPO's. arXiv:2410.04350. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_tis_dpo(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    plumb_real dz;
    const plumb_real z = plumb_finite(p->beta * (p->delta - p->alpha * (p->kw - p->kl)));
    const plumb_real loss = plumb_pair_logistic(z, 0, &dz);
    g->dw = g->dkl = p->beta * dz;
    g->dl = g->dkw = -g->dw;
    g->dkw *= p->alpha;
    g->dkl *= p->alpha;
    return loss;
}
