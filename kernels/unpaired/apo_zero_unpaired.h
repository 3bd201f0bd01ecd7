/* Desirable: w (1 - s(beta u)); undesirable: w s(beta u). KTO with the reference point at 0.
 * arXiv:2408.06266 eq. 7, unpaired. */
#pragma once
#include "kernels/unpaired/completion.h"

PLUMB_HD plumb_real plumb_completion_apo_zero_unpaired(const struct plumb_completion *p,
                                                       struct plumb_completion_grad *g)
{
    const plumb_real sign = p->desirable > 0 ? 1 : -1;
    const plumb_real weight = p->desirable > 0 ? p->desirable_weight : p->undesirable_weight;
    const plumb_real z = sign * p->beta * p->u;
    g->dlp = -weight * sign * p->beta * plumb_sigmoid(z) * plumb_sigmoid(-z);
    return weight * plumb_sigmoid(-z);
}
