/* d^2 / 2. */
#pragma once
#include "kernels/kl/kl_token.h"

PLUMB_HD plumb_real plumb_kl_k2(const struct plumb_kl_token *p, struct plumb_kl_grad *g)
{
    g->dlp = p->d;
    return p->d * p->d / 2;
}
