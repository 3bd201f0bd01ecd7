/* |d|, slope 0 at d = 0. */
#pragma once
#include "kernels/kl/kl_token.h"

PLUMB_HD plumb_real plumb_kl_abs(const struct plumb_kl_token *p, struct plumb_kl_grad *g)
{
    g->dlp = p->d > 0 ? 1 : p->d < 0 ? -1 : p->d;
    return plumb_abs(p->d);
}
