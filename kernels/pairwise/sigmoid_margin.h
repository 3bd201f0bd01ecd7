/* -log s(beta delta - margin). ODPO (arXiv:2402.10571): margin = alpha log(score difference);
 * MODPO (arXiv:2310.03708): beta and margin divided by the first weight. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_sigmoid_margin(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    plumb_real dz;
    const plumb_real z = plumb_finite(p->beta * p->delta - p->margin);
    const plumb_real loss = plumb_pair_logistic(z, 0, &dz);
    g->dw = p->beta * dz;
    g->dl = -g->dw;
    return loss;
}
