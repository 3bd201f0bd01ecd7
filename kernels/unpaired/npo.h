/* Undesirable: w (2 / beta) log(1 + e^(beta u)), a completion is unlearnt; desirable: -w lp, what
 * is to be kept. arXiv:2404.05868. */
#pragma once
#include "kernels/unpaired/completion.h"

PLUMB_HD plumb_real plumb_completion_npo(const struct plumb_completion *p,
                                         struct plumb_completion_grad *g)
{
    const plumb_real z = p->beta * p->u;
    if (p->desirable > 0) {
        g->dlp = -p->desirable_weight;
        return -p->desirable_weight * p->lp;
    }
    g->dlp = 2 * p->undesirable_weight * plumb_sigmoid(z);
    return p->undesirable_weight * (2 / p->beta) * plumb_softplus(z);
}
