/* -A log p. */
#pragma once
#include "kernels/policy/policy_token.h"

PLUMB_HD plumb_real plumb_policy_reinforce(const struct plumb_policy_token *p,
                                           struct plumb_policy_grad *g)
{
    g->factor = 1;
    g->dlp = -p->a;
    return -p->a * p->lp;
}
