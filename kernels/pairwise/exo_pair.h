/* KL of q = (s(z), s(-z)), z = beta delta, to the label smoothed by e; infinite at e = 0, hence
 * refused there. arXiv:2402.00856 eq. 16. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_exo_pair(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    const plumb_real z = plumb_finite(p->beta * p->delta), e = p->label_smoothing;
    const plumb_real q = plumb_sigmoid(z), r = plumb_sigmoid(-z);
    g->dw = p->beta * (q * r) * (z - plumb_log1p(-e) + plumb_log(e));
    g->dl = -g->dw;
    return q * (-plumb_softplus(-z) - plumb_log1p(-e)) + r * (-plumb_softplus(z) - plumb_log(e));
}
