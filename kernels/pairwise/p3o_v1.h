/* P3O, each side's ratio clipped to [1 - gamma, 1 + gamma]: sum of -min(g rho, g clip(rho)) with
 * g = sg(own reward - other reward) sg(other rho). */
#pragma once
#include "kernels/pairwise/pair.h"

/* One side with log-ratio u, the other's v, the difference of rewards a. */
PLUMB_HD plumb_real plumb_pair_p3o_side(plumb_real a, plumb_real u, plumb_real v, plumb_real gamma,
                                        plumb_real *du)
{
    const plumb_real rho = plumb_exp(u);
    if (a > 0 && rho > 1 + gamma) return -plumb_times_exp((1 + gamma) * a, v);
    if (a < 0 && rho < 1 - gamma) return -plumb_times_exp((1 - gamma) * a, v);
    *du = -plumb_times_exp(a, u + v);
    return *du;
}

PLUMB_HD plumb_real plumb_pair_p3o_v1(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    const plumb_real a = p->tw - p->tl;
    const plumb_real w = plumb_pair_p3o_side(a, p->uw, p->ul, p->gamma, &g->dw);
    return w + plumb_pair_p3o_side(-a, p->ul, p->uw, p->gamma, &g->dl);
}
