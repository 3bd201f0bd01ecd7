/* (uw / |yw| - ul / |yl| - 1 / (2 beta))^2: log-ratios are means over tokens, as in TRL. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_ipo(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    const plumb_real gap = p->mean_delta - 1 / (2 * p->beta);
    g->dw = 2 * gap / p->nw;
    g->dl = -2 * gap / p->nl;
    return gap * gap;
}
