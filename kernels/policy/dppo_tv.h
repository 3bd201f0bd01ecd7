/* -sg(min(rho, cap)) A log p, but nothing where p has moved further than `high` above (A > 0) or
 * `low` below (else) the p it was sampled with. */
#pragma once
#include "kernels/policy/policy_token.h"

PLUMB_HD plumb_real plumb_policy_dppo(const struct plumb_policy_token *p, bool outside,
                                      struct plumb_policy_grad *g)
{
    const plumb_real rho = plumb_exp(p->r), kept = outside ? 0 : 1; /* NaN stays NaN */
    const bool capped = p->cap > 0 && rho > p->cap;
    g->factor = capped ? p->cap : rho;
    g->clip = outside  ? p->a > 0 ? PLUMB_POLICY_HIGH : PLUMB_POLICY_LOW
              : capped ? PLUMB_POLICY_CAPPED
                       : PLUMB_POLICY_FREE;
    g->dlp = -kept * plumb_finite(capped ? p->cap * p->a : plumb_times_exp(p->a, p->r));
    return capped ? g->dlp * p->lp : -kept * plumb_finite(plumb_times_exp(p->a * p->lp, p->r));
}

PLUMB_HD plumb_real plumb_policy_dppo_tv(const struct plumb_policy_token *p,
                                         struct plumb_policy_grad *g)
{
    const plumb_real gap = p->lp - p->old;
    const plumb_real moved = gap > 0 ? -plumb_exp(p->lp) * plumb_expm1(-gap)
                                     : plumb_exp(p->old) * plumb_expm1(gap);
    const bool outside = p->a > 0 ? moved > p->high : moved < -p->low;
    return plumb_policy_dppo(p, outside, g);
}
