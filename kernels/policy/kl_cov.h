/* -rho A; marked tokens are held back by coef |log rho|, slope 0 at rho = 1. */
#pragma once
#include "kernels/policy/policy_token.h"

PLUMB_HD plumb_real plumb_policy_kl_cov(const struct plumb_policy_token *p,
                                        struct plumb_policy_grad *g)
{
    const plumb_real gain = plumb_times_exp(p->a, p->r), back = p->mark * p->coef;
    g->factor = plumb_exp(p->r);
    g->dr = -gain + (p->r > 0 ? back : p->r < 0 ? -back : 0);
    return -gain + back * plumb_abs(p->r);
}
