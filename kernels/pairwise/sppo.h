/* Half of the squared errors of uw and ul from (P - 1/2) / beta; tw, tl = the sides' probabilities
 * to win against the policy. arXiv:2405.00675 eq. 4.7. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_sppo(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    g->dw = p->uw - (p->tw - PLUMB_R(0.5)) / p->beta;
    g->dl = p->ul - (p->tl - PLUMB_R(0.5)) / p->beta;
    return (g->dw * g->dw + g->dl * g->dl) / 2;
}
