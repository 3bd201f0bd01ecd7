/* -log s(delta) + [(uw - 1 / (2 beta))^2 + (ul + 1 / (2 beta))^2] / 2: rewards are calibrated as
 * well as ranked. arXiv:2412.14516. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_cal_dpo(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    plumb_real dz;
    const plumb_real loss = plumb_pair_logistic(p->delta, 0, &dz), aim = 1 / (2 * p->beta);
    const plumb_real w = p->uw - aim, l = p->ul + aim;
    g->dw = w + dz;
    g->dl = l - dz;
    return loss + (w * w + l * l) / 2;
}
