/* -p log s(d) - (1 - p) log s(-d), d = chosen - rejected - margin, p = target. */
#pragma once
#include "kernels/reward/scores.h"

PLUMB_HD plumb_real plumb_scores_bradley_terry_soft(const struct plumb_scores *p,
                                                    struct plumb_scores_grad *g)
{
    const plumb_real d = plumb_scores_gap_of(p), other = 1 - p->target;
    g->dchosen = other * plumb_sigmoid(d) - p->target * plumb_sigmoid(-d);
    g->drejected = -g->dchosen;
    return p->target * plumb_softplus(-d) + other * plumb_softplus(d);
}
