/* -log p. */
#pragma once
#include "kernels/supervised/token.h"

PLUMB_HD plumb_real plumb_token_nll(const struct plumb_token *p, struct plumb_token_grad *g)
{
    g->dlogp = -1;
    return -p->logp;
}
