/* p (log p - log q), q the teacher. */
#pragma once
#include "kernels/distill/chance.h"

PLUMB_HD plumb_real plumb_chance_reverse_kl(const struct plumb_chance *c,
                                            struct plumb_chance_grad *g)
{
    g->slope = c->logp - c->logq;
    g->direct = 0;
    return c->p * g->slope;
}
