/* e^-z, z = beta delta: the exponential loss of arXiv:2402.05749. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_exponential(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    const plumb_real e = plumb_exp(-plumb_finite(p->beta * p->delta));
    g->dw = plumb_finite(-p->beta * e);
    g->dl = -g->dw;
    return plumb_finite(e);
}
