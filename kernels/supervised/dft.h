/* -sg(p) log p: the factor p carries no gradient. */
#pragma once
#include "kernels/supervised/token.h"

PLUMB_HD plumb_real plumb_token_dft(const struct plumb_token *p, struct plumb_token_grad *g)
{
    const plumb_real prob = plumb_exp(p->logp);
    g->dlogp = -prob;
    return -prob * p->logp;
}
