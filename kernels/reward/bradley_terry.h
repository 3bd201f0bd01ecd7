/* -log s(chosen - rejected - margin). */
#pragma once
#include "kernels/reward/scores.h"

PLUMB_HD plumb_real plumb_scores_bradley_terry(const struct plumb_scores *p,
                                               struct plumb_scores_grad *g)
{
    const plumb_real loss = plumb_scores_logistic(plumb_scores_gap_of(p), &g->dchosen);
    g->drejected = -g->dchosen;
    return loss;
}
