/* -beta log s(log odds ratio), odds = P / (1 - P), P = e^m of a mean log-prob m, kept below 1. ORPO
 * adds the likelihood of the chosen side. arXiv:2403.07691 eqs. 4 and 7. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_orpo(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    plumb_real dz;
    const plumb_real least = PLUMB_R(-1e-30); /* 1 / (1 - P) stays finite in f32 */
    const plumb_real xw = p->lw / p->nw, xl = p->ll / p->nl;
    const plumb_real mw = xw > least ? least : xw, ml = xl > least ? least : xl;
    const plumb_real z = plumb_finite(mw - ml - (plumb_log1mexp(mw) - plumb_log1mexp(ml)));
    const plumb_real loss = plumb_pair_logistic(z, 0, &dz);
    g->dw = p->beta * dz * (-1 / plumb_expm1(mw)) / p->nw;
    g->dl = -p->beta * dz * (-1 / plumb_expm1(ml)) / p->nl;
    return p->beta * loss;
}
