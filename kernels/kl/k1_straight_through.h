/* The value of k1 with the gradient of k2. */
#pragma once
#include "kernels/kl/kl_token.h"

PLUMB_HD plumb_real plumb_kl_k1_straight_through(const struct plumb_kl_token *p,
                                                 struct plumb_kl_grad *g)
{
    g->dlp = p->d;
    return p->d;
}
