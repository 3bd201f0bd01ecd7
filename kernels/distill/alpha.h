/* (q^alpha p^(1 - alpha) - p) / (alpha (alpha - 1)), q the teacher. */
#pragma once
#include "kernels/distill/chance.h"

PLUMB_HD plumb_real plumb_chance_alpha(const struct plumb_chance *c, struct plumb_chance_grad *g)
{
    const plumb_real a = c->alpha, apart = a * (c->logq - c->logp);
    const plumb_real mixed = plumb_finite(plumb_exp(plumb_finite(apart + c->logp)));
    const plumb_real gained = plumb_abs(apart) < 1 ? c->p * plumb_expm1(apart) : mixed - c->p;
    g->slope = 0;
    g->direct = -mixed / a;
    return gained / (a * (a - 1));
}
