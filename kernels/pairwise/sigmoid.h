/* DPO: -(1 - e) log s(z) - e log s(-z), z = beta delta; label smoothing e makes it conservative DPO
 * (https://ericmitchell.ai/cdpo.pdf eq. 3). */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_sigmoid(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    const plumb_real z = plumb_finite(p->beta * p->delta), e = p->label_smoothing;
    g->dw = p->beta * (e - plumb_sigmoid(-z));
    g->dl = -g->dw;
    return (1 - e) * plumb_softplus(-z) + e * plumb_softplus(z);
}
