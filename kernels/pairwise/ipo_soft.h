/* (delta - tw / beta)^2, tw = difference of win probabilities. Online IPO, arXiv:2503.08942. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_ipo_soft(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    const plumb_real gap = p->delta - p->tw / p->beta;
    g->dw = 2 * gap;
    g->dl = -g->dw;
    return gap * gap;
}
