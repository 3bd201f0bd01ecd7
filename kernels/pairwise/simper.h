/* e^ml - e^mw, m = mean log-prob: difference of inverse perplexities. arXiv:2502.00883. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_simper(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    const plumb_real ew = plumb_finite(plumb_exp(p->lw / p->nw));
    const plumb_real el = plumb_finite(plumb_exp(p->ll / p->nl));
    g->dw = -ew / p->nw;
    g->dl = el / p->nl;
    return el - ew;
}
