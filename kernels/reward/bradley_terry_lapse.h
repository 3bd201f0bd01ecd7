/* -log((1 - lapse) s(chosen - rejected - margin) + lapse / 2). */
#pragma once
#include "kernels/reward/scores.h"

PLUMB_HD plumb_real plumb_scores_bradley_terry_lapse(const struct plumb_scores *p,
                                                     struct plumb_scores_grad *g)
{
    const plumb_real loss = plumb_scores_mixed(plumb_scores_gap_of(p), 1 - p->lapse, p->lapse / 2,
                                               &g->dchosen);
    g->drejected = -g->dchosen;
    return loss;
}
