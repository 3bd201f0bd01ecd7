/* (2 / beta) log(1 + e^(beta ul)): the rejected side alone is unlearnt. arXiv:2404.05868. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_npo(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    const plumb_real r = plumb_finite(p->beta * p->ul);
    g->dw = 0;
    g->dl = 2 * plumb_sigmoid(r);
    return 2 / p->beta * plumb_softplus(r);
}
