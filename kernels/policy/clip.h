/* -min(rho A, clip(rho) A); where A < 0 never above -cap A. A clip works on the side that would
 * gain: on the other the ratio is free. */
#pragma once
#include "kernels/policy/policy_token.h"

PLUMB_HD plumb_real plumb_policy_clip(const struct plumb_policy_token *p,
                                      struct plumb_policy_grad *g)
{
    const plumb_real rho = plumb_exp(p->r);
    g->factor = rho;
    if (p->a > 0 && rho > p->high) {
        g->clip = PLUMB_POLICY_HIGH;
        return -p->high * p->a;
    }
    if (p->a < 0 && rho < p->low) {
        g->clip = PLUMB_POLICY_LOW;
        return -p->low * p->a;
    }
    if (p->a < 0 && p->cap > 0 && rho > p->cap) {
        g->clip = PLUMB_POLICY_CAPPED;
        return -p->cap * p->a;
    }
    g->dr = -plumb_times_exp(p->a, p->r);
    return g->dr;
}
