/* (h - 1 / (2 beta))^2, h = lambda delta + (1 - lambda) anchor_delta: a step of mirror descent from
 * the anchor, pulled to the reference. arXiv:2407.00617: beta = eta, lambda = tau / eta, the anchor
 * is the previous iterate. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_inpo(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    const plumb_real h = p->lambda * p->delta + (1 - p->lambda) * p->anchor_delta;
    const plumb_real gap = h - 1 / (2 * p->beta);
    g->dw = 2 * gap;
    g->dl = -g->dw;
    return gap * gap;
}
