/* k3, at most 10, where its gradient ends. The published form also clamps d to +-20: there k3 is
 * above 10 anyway. */
#pragma once
#include "kernels/kl/k3.h"

PLUMB_HD plumb_real plumb_kl_k3_clamped(const struct plumb_kl_token *p, struct plumb_kl_grad *g)
{
    const plumb_real k3 = plumb_kl_k3(p, g);
    if (!(k3 > 10)) return k3;
    g->dlp = 0;
    return 10;
}
