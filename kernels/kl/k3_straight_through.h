/* The value of k3_clamped with the gradient of k2. */
#pragma once
#include "kernels/kl/k3_clamped.h"

PLUMB_HD plumb_real plumb_kl_k3_straight_through(const struct plumb_kl_token *p,
                                                 struct plumb_kl_grad *g)
{
    const plumb_real value = plumb_kl_k3_clamped(p, g);
    g->dlp = p->d;
    return value;
}
