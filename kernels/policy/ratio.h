/* -rho A. */
#pragma once
#include "kernels/policy/policy_token.h"

PLUMB_HD plumb_real plumb_policy_ratio(const struct plumb_policy_token *p,
                                       struct plumb_policy_grad *g)
{
    g->factor = plumb_exp(p->r);
    g->dr = -plumb_times_exp(p->a, p->r);
    return g->dr;
}
