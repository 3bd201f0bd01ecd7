/* -log s(chosen - rejected - margin) + center (chosen + rejected)^2. */
#pragma once
#include "kernels/reward/scores.h"

PLUMB_HD plumb_real plumb_scores_bradley_terry(const struct plumb_scores *p,
                                               struct plumb_scores_grad *g)
{
    const plumb_real d = plumb_finite(p->chosen - p->rejected - p->margin);
    const plumb_real s = plumb_finite(p->chosen + p->rejected);
    const plumb_real pull = p->center * s, push = plumb_sigmoid(-d);
    g->dchosen = 2 * pull - push;
    g->drejected = 2 * pull + push;
    return plumb_softplus(-d) + pull * s;
}
