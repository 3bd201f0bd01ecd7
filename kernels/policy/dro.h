/* -(A log p - coef / 2 log(rho)^2). */
#pragma once
#include "kernels/policy/policy_token.h"

PLUMB_HD plumb_real plumb_policy_dro(const struct plumb_policy_token *p,
                                     struct plumb_policy_grad *g)
{
    g->factor = 1;
    g->dlp = -p->a;
    g->dr = p->coef * p->r;
    return -p->a * p->lp + p->coef / 2 * p->r * p->r;
}
