/* -(1 - e) log s(z) - e log s(-z), z = beta aot: the pair is held against the reference's margin of
 * its own rank in the batch. The other terms of the sort are constants. arXiv:2406.05882. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_aot(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    plumb_real dz;
    const plumb_real z = plumb_finite(p->beta * p->aot);
    const plumb_real loss = plumb_pair_logistic(z, p->label_smoothing, &dz);
    g->dw = p->beta * dz;
    g->dl = -g->dw;
    return loss;
}
