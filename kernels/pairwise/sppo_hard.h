/* (uw - 1 / (2 beta))^2 + (ul + 1 / (2 beta))^2: SPPO with win probabilities 1 and 0.
 * arXiv:2405.00675 eq. 4.7, times 2 as in TRL. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_sppo_hard(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    const plumb_real aim = 1 / (2 * p->beta), w = p->uw - aim, l = p->ul + aim;
    g->dw = 2 * w;
    g->dl = 2 * l;
    return w * w + l * l;
}
