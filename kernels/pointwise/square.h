/* (score - target)^2. */
#pragma once
#include "kernels/pointwise/rating.h"

PLUMB_HD plumb_real plumb_rating_square(const struct plumb_rating *p, struct plumb_rating_grad *g)
{
    const plumb_real d = plumb_finite(p->score - p->target);
    g->dscore = 2 * d;
    return d * d;
}
