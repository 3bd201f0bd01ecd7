/* As dppo_tv; the distance is the divergence between the coins "this token or another" of the two
 * policies, and counts on the side that A asks for. */
#pragma once
#include "kernels/policy/dppo_tv.h"

PLUMB_HD plumb_real plumb_policy_dppo_kl(const struct plumb_policy_token *p,
                                         struct plumb_policy_grad *g)
{
    const plumb_real others = -plumb_expm1(p->old); /* 1 - p_old */
    const plumb_real now = p->lp < 0 ? plumb_log1mexp(p->lp) : -PLUMB_REAL_MAX;
    const plumb_real coin = others > 0 ? others * (plumb_log1mexp(p->old) - now) : 0;
    const plumb_real kl = plumb_exp(p->old) * (p->old - p->lp) + coin;
    const bool outside = p->a > 0 ? kl > p->high && p->lp > p->old : kl > p->low && p->lp < p->old;
    return plumb_policy_dppo(p, outside, g);
}
