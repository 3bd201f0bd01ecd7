/* -pos_weight y log s(score) - (1 - y) log s(-score), y = target. */
#pragma once
#include "kernels/pointwise/rating.h"

PLUMB_HD plumb_real plumb_rating_bce(const struct plumb_rating *p, struct plumb_rating_grad *g)
{
    const plumb_real yes = p->pos_weight * p->target, no = 1 - p->target;
    g->dscore = no * plumb_sigmoid(p->score) - yes * plumb_sigmoid(-p->score);
    return yes * plumb_softplus(-p->score) + no * plumb_softplus(p->score);
}
