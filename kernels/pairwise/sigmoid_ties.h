/* Preference with ties (Rao and Kupper 1967): P(chosen wins) = s(z - gamma), z = beta delta;
 * P(tie) = s(z - gamma) s(-z - gamma) (e^(2 gamma) - 1). Log-loss of share tw of wins and 1 - tw of
 * ties; gamma > 0. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_sigmoid_ties(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    const plumb_real z = plumb_finite(p->beta * p->delta), tie = 1 - p->tw;
    const plumb_real wide = 2 * p->gamma + plumb_log1mexp(-2 * p->gamma); /* log(e^2gamma - 1) */
    g->dw = p->beta * (tie * plumb_sigmoid(z + p->gamma) - plumb_sigmoid(p->gamma - z));
    g->dl = -g->dw;
    return plumb_softplus(p->gamma - z) + tie * (plumb_softplus(z + p->gamma) - wide);
}
