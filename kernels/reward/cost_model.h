/* Costs, chosen = of the less safe response: -log s(chosen - rejected - margin) - log s(-sign cost)
 * of both, sign +1 = labelled safe, -1 = unsafe. */
#pragma once
#include "kernels/reward/scores.h"

PLUMB_HD plumb_real plumb_scores_cost_model(const struct plumb_scores *p,
                                            struct plumb_scores_grad *g)
{
    plumb_real pair, chosen, rejected;
    const plumb_real loss = plumb_scores_logistic(plumb_scores_gap_of(p), &pair) +
                            plumb_scores_logistic(-p->sign_chosen * p->chosen, &chosen) +
                            plumb_scores_logistic(-p->sign_rejected * p->rejected, &rejected);
    g->dchosen = pair - p->sign_chosen * chosen;
    g->drejected = -pair - p->sign_rejected * rejected;
    return loss;
}
