/* -sg(phi) A log p, phi = e^lambda rho^k e^(-lambda rho): a gamma weighting of the row's ratio, 1
 * at rho = 1, with k and lambda for each sign of A. */
#pragma once
#include "kernels/policy/policy_token.h"

PLUMB_HD plumb_real plumb_policy_vespo(const struct plumb_policy_token *p,
                                       struct plumb_policy_grad *g)
{
    const plumb_real least = PLUMB_R(-18.420680743952367); /* ln 1e-8 */
    const plumb_real r = plumb_policy_between(p->r, least, 20);
    const plumb_real k = p->a < 0 ? p->k_negative : p->k_positive;
    const plumb_real lambda = plumb_max(p->a < 0 ? p->lambda_negative : p->lambda_positive,
                                        PLUMB_R(1e-4));
    const plumb_real log_phi = k * r - lambda * plumb_expm1(r);
    g->factor = plumb_exp(log_phi);
    g->dlp = -plumb_times_exp(p->a, log_phi);
    return -plumb_times_exp(p->a * p->lp, log_phi);
}
