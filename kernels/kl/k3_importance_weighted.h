/* e^lr k3: both factors have a gradient, e^lr k3 + e^lr (1 - e^-d) = e^lr d in all. The product is
 * formed so that neither factor overflows before it does. */
#pragma once
#include "kernels/kl/kl_token.h"

PLUMB_HD plumb_real plumb_kl_k3_importance_weighted(const struct plumb_kl_token *p,
                                                    struct plumb_kl_grad *g)
{
    g->dlp = plumb_times_exp(p->d, p->lr);
    g->dr = p->d < -20 ? plumb_exp(p->lr - p->d) * (1 + (p->d - 1) * plumb_exp(p->d))
                       : plumb_times_exp(plumb_expm1_less_x(-p->d), p->lr);
    return g->dr;
}
