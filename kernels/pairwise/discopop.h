/* (1 - q)(-log s(z)) + q e^-z, z = beta delta, q = s(z / discopop_tau). q e^-z is formed as one
 * exponential: its factors overflow and underflow apart. arXiv:2406.08414 eq. 5. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_discopop(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    const plumb_real z = plumb_finite(p->beta * p->delta), tau = p->discopop_tau;
    const plumb_real x = plumb_finite(z / tau), q = plumb_sigmoid(x), r = plumb_sigmoid(-x);
    const plumb_real decay = z < 0 ? plumb_exp(z * (1 / tau - 1)) / (1 + plumb_exp(x))
                                   : q * plumb_exp(-z);
    const plumb_real qe = plumb_finite(decay), log_s = plumb_logsigmoid(z);
    g->dw = p->beta * (qe * (r / tau - 1) + q * r / tau * log_s - r * plumb_sigmoid(-z));
    g->dl = -g->dw;
    return qe - r * log_s;
}
