/* tw ll + (1 - tw) lw: log-prob of the side that the reference model wrote; tw = 1 where the policy
 * wrote the chosen one. XPO is sigmoid and alpha of this, arXiv:2405.21046 algorithm 1. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_xpo(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    g->dw = 1 - p->tw;
    g->dl = p->tw;
    return g->dl * p->ll + g->dw * p->lw;
}
