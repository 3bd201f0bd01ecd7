/* -lw: a likelihood term in which each token of the chosen side counts the same. RPO is sigmoid and
 * eta of this, arXiv:2405.16436. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_nll(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    g->dw = -1;
    g->dl = 0;
    return -p->lw;
}
