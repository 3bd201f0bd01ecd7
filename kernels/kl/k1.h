/* d. */
#pragma once
#include "kernels/kl/kl_token.h"

PLUMB_HD plumb_real plumb_kl_k1(const struct plumb_kl_token *p, struct plumb_kl_grad *g)
{
    g->dlp = 1;
    return p->d;
}
