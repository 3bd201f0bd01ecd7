/* Desirable: w (1 - s(beta (u - z0))); undesirable: w (1 - s(beta (z0 - u))); z0 = max(0, kl).
 * 1 - s(x) is written s(-x), which keeps its digits. */
#pragma once
#include "kernels/unpaired/completion.h"

PLUMB_HD plumb_real plumb_completion_kto(const struct plumb_completion *p,
                                         struct plumb_completion_grad *g)
{
    const plumb_real z0 = p->kl < 0 ? 0 : p->kl, sign = p->desirable > 0 ? 1 : -1;
    const plumb_real weight = p->desirable > 0 ? p->desirable_weight : p->undesirable_weight;
    const plumb_real z = sign * p->beta * (p->u - z0);
    g->dlp = -weight * sign * p->beta * plumb_sigmoid(z) * plumb_sigmoid(-z);
    return weight * plumb_sigmoid(-z);
}
