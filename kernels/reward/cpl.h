/* -log s(chosen - bias rejected - margin): scores are the advantages of two segments. */
#pragma once
#include "kernels/reward/scores.h"

PLUMB_HD plumb_real plumb_scores_cpl(const struct plumb_scores *p, struct plumb_scores_grad *g)
{
    const plumb_real d = plumb_finite(p->chosen - p->bias * p->rejected - p->margin);
    const plumb_real loss = plumb_scores_logistic(d, &g->dchosen);
    g->drejected = -p->bias * g->dchosen;
    return loss;
}
