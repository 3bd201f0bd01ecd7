/* -rho A; marked tokens, which no policy of ours has sampled, have no ratio: -A p / (p + coef), so
 * that unlikely ones are learnt most. */
#pragma once
#include "kernels/policy/policy_token.h"

PLUMB_HD plumb_real plumb_policy_critique(const struct plumb_policy_token *p,
                                          struct plumb_policy_grad *g)
{
    if (!(p->mark > 0)) {
        g->factor = plumb_exp(p->r);
        g->dr = -plumb_times_exp(p->a, p->r);
        return g->dr;
    }
    const plumb_real prob = plumb_exp(p->lp), sum = prob + p->coef;
    g->factor = prob / sum;
    g->dlp = -p->a * g->factor * (p->coef / sum);
    return -p->a * g->factor;
}
