/* -t log s(z) - (1 - t) log s(-z), z = beta delta, t = tw = probability that chosen is preferred.
 * DNO's exact step, arXiv:2404.03715. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_soft_label(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    plumb_real dz;
    const plumb_real z = plumb_finite(p->beta * p->delta);
    const plumb_real loss = plumb_pair_logistic(z, 1 - p->tw, &dz);
    g->dw = p->beta * dz;
    g->dl = -g->dw;
    return loss;
}
