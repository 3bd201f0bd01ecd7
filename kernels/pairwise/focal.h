/* -s(z)^gamma log s(z), z = beta delta: gamma > 0 turns from pairs that are far on the wrong
 * side. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_focal(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    const plumb_real z = plumb_finite(p->beta * p->delta), log_s = plumb_logsigmoid(z);
    const plumb_real x = plumb_finite(p->gamma * log_s), power = plumb_finite(plumb_exp(x));
    g->dw = -p->beta * power * plumb_sigmoid(-z) * (1 + x);
    g->dl = -g->dw;
    return -power * log_s;
}
