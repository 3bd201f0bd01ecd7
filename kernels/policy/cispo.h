/* -sg(clip(rho)) A log p: the clipped ratio is a weight, every token keeps its gradient. */
#pragma once
#include "kernels/policy/policy_token.h"

PLUMB_HD plumb_real plumb_policy_cispo(const struct plumb_policy_token *p,
                                       struct plumb_policy_grad *g)
{
    const plumb_real rho = plumb_exp(p->r);
    if (p->a > 0 && rho > p->high) g->clip = PLUMB_POLICY_HIGH;
    if (p->a < 0 && rho < p->low) g->clip = PLUMB_POLICY_LOW;
    g->factor = plumb_policy_between(rho, p->low, p->high);
    g->dlp = -g->factor * p->a;
    return g->dlp * p->lp;
}
