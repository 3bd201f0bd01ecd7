/* beta q (log q - log m) + (1 - beta) p (log p - log m), m = beta q + (1 - beta) p, q the teacher.
 * log m is found from the larger of p and q, so that nothing cancels where they are close. */
#pragma once
#include "kernels/distill/chance.h"

PLUMB_HD plumb_real plumb_chance_jsd(const struct plumb_chance *c, struct plumb_chance_grad *g)
{
    const plumb_real apart = c->logq - c->logp;
    const plumb_real less = plumb_expm1(-plumb_abs(apart)); /* smaller / larger - 1 */
    const plumb_real from_larger = plumb_log1p((apart > 0 ? 1 - c->beta : c->beta) * less);
    const plumb_real from_smaller = from_larger + plumb_abs(apart);
    const plumb_real from_p = apart > 0 ? from_smaller : from_larger; /* log m - log p */
    const plumb_real from_q = apart > 0 ? from_larger : from_smaller;
    g->slope = -(1 - c->beta) * from_p;
    g->direct = 0;
    return -c->beta * c->q * from_q + c->p * g->slope;
}
