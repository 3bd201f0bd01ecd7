/* -lw / |yw|: a likelihood term in which each chosen completion counts the same. RPO is sigmoid
 * and eta of this, arXiv:2404.19733. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_nll_norm(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    g->dw = -1 / p->nw;
    g->dl = 0;
    return p->lw * g->dw;
}
