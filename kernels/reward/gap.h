/* Scores of a response against a reference response: (w,l) = chosen above (w,w) and (l,l), both
 * above (l,w) = rejected; the sum of four -log s. */
#pragma once
#include "kernels/reward/scores.h"

PLUMB_HD plumb_real plumb_scores_gap(const struct plumb_scores *p, struct plumb_scores_grad *g)
{
    plumb_real a, b, c, d;
    const plumb_real loss =
        plumb_scores_logistic(plumb_finite(p->chosen - p->anchor_chosen - p->margin), &a) +
        plumb_scores_logistic(plumb_finite(p->chosen - p->anchor_rejected - p->margin), &b) +
        plumb_scores_logistic(plumb_finite(p->anchor_chosen - p->rejected - p->margin), &c) +
        plumb_scores_logistic(plumb_finite(p->anchor_rejected - p->rejected - p->margin), &d);
    g->dchosen = a + b;
    g->drejected = -c - d;
    g->danchor_chosen = c - a;
    g->danchor_rejected = d - b;
    return loss;
}
