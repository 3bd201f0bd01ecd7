/* q (log q - log p), q the teacher. */
#pragma once
#include "kernels/distill/chance.h"

PLUMB_HD plumb_real plumb_chance_forward_kl(const struct plumb_chance *c,
                                            struct plumb_chance_grad *g)
{
    g->slope = 0;
    g->direct = -c->q;
    return c->q * (c->logq - c->logp);
}
