/* -log s(tw beta delta): a scale by pair, as in dispersion weights (arXiv:2405.14953), geometric
 * soft labels (tw = 2 t - 1) and batch-dependent beta (arXiv:2407.08639). */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_sigmoid_scaled(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    plumb_real dz;
    const plumb_real b = p->tw * p->beta, z = plumb_finite(b * p->delta);
    const plumb_real loss = plumb_pair_logistic(z, 0, &dz);
    g->dw = b * dz;
    g->dl = -g->dw;
    return loss;
}
