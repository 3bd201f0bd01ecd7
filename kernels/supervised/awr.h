/* -min(e^((reward - value) / beta), max_weight) log p; the weight carries no gradient. */
#pragma once
#include "kernels/supervised/token.h"

PLUMB_HD plumb_real plumb_token_awr(const struct plumb_token *p, struct plumb_token_grad *g)
{
    const plumb_real advantage = plumb_finite(p->reward - p->value) / p->beta;
    const plumb_real weight = plumb_exp(advantage);
    g->dlogp = -(weight > p->max_weight ? p->max_weight : weight);
    return g->dlogp * p->logp;
}
