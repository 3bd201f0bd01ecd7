/* e^-d + d - 1, never below 0. */
#pragma once
#include "kernels/kl/kl_token.h"

PLUMB_HD plumb_real plumb_kl_k3(const struct plumb_kl_token *p, struct plumb_kl_grad *g)
{
    g->dlp = -plumb_expm1(-p->d);
    return plumb_expm1_less_x(-p->d);
}
