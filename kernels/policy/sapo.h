/* -(4 / tau) s(tau (rho - 1)) A: a soft clip with a temperature for each sign of A. */
#pragma once
#include "kernels/policy/policy_token.h"

PLUMB_HD plumb_real plumb_policy_sapo(const struct plumb_policy_token *p,
                                      struct plumb_policy_grad *g)
{
    const plumb_real tau = p->a > 0 ? p->tau_positive : p->tau_negative;
    const plumb_real rho = plumb_finite(plumb_exp(p->r)), x = tau * (rho - 1);
    g->factor = rho;
    g->dr = -4 * p->a * (rho * plumb_sigmoid(-x)) * plumb_sigmoid(x);
    return -4 / tau * plumb_sigmoid(x) * p->a;
}
