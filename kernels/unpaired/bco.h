/* Desirable: -log s(beta u - shift); undesirable: -log s(shift - beta u): a classifier of rewards
 * whose border is the running mean. arXiv:2404.04656. */
#pragma once
#include "kernels/unpaired/completion.h"

PLUMB_HD plumb_real plumb_completion_bco(const struct plumb_completion *p,
                                         struct plumb_completion_grad *g)
{
    const plumb_real sign = p->desirable > 0 ? 1 : -1;
    const plumb_real z = sign * plumb_finite(p->beta * p->u - p->shift);
    g->dlp = -sign * p->beta * plumb_sigmoid(-z);
    return plumb_softplus(-z);
}
