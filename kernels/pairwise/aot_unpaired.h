/* -(1 - e) log s(z) - e log s(-z), z = beta (uw - ul of the same rank in the batch): the loss of
 * the chosen side's rank, the gradient of the rejected side that of its own. arXiv:2406.05882. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_aot_unpaired(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    plumb_real dw, dl;
    const plumb_real zw = plumb_finite(p->beta * p->aot_w), zl = plumb_finite(p->beta * p->aot_l);
    const plumb_real loss = plumb_pair_logistic(zw, p->label_smoothing, &dw);
    plumb_pair_logistic(zl, p->label_smoothing, &dl);
    g->dw = p->beta * dw;
    g->dl = -p->beta * dl;
    return loss;
}
