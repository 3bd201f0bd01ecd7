/* (uw / |yw| - ul / |yl| - tw / beta)^2: ipo_soft on means over tokens, the default of the released
 * code of arXiv:2503.08942. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_ipo_soft_norm(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    const plumb_real gap = p->mean_delta - p->tw / p->beta;
    g->dw = 2 * gap / p->nw;
    g->dl = -2 * gap / p->nl;
    return gap * gap;
}
