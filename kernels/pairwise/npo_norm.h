/* (2 / beta) log(1 + e^(beta ll / |yl| + gamma)): unlearning by the mean log-prob of the rejected
 * side, without a reference. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_npo_norm(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    const plumb_real r = plumb_finite(p->beta * (p->ll / p->nl) + p->gamma);
    g->dw = 0;
    g->dl = 2 * plumb_sigmoid(r) / p->nl;
    return 2 / p->beta * plumb_softplus(r);
}
