/* P3O's pairwise policy gradient, no clip: -sg((tw - tl) rho_w rho_l / 2) (lw - ll) of two samples
 * of a prompt with rewards tw and tl; rho = e^u, the reference being the policy that sampled. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_p3o(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    const plumb_real half = (p->tw - p->tl) / 2, r = p->uw + p->ul;
    g->dw = -plumb_times_exp(half, r);
    g->dl = -g->dw;
    return -plumb_times_exp(half * (p->lw - p->ll), r);
}
