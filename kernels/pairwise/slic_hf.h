/* max(0, gamma - lw + ll) - lambda lw: a hinge on log-probs and a likelihood term. arXiv:2305.10425
 * eqs. 1 and 2, target = chosen. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_slic_hf(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    const plumb_real gap = p->gamma - (p->lw - p->ll);
    const plumb_real active = gap <= 0 ? 0 : 1;
    g->dw = -active - p->lambda;
    g->dl = active;
    return (gap <= 0 ? 0 : gap) - p->lambda * p->lw;
}
