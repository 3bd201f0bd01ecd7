/* The family's switch: formula `id` of reward.def on one pair of scores, and what is added to every
 * formula. */
#pragma once
#include "gen/reward_formulas.h"

PLUMB_HD plumb_real plumb_scores_formula(int id, const struct plumb_scores *p,
                                         struct plumb_scores_grad *g)
{
    switch (id) {
#define PLUMB_FORMULA(ID, NAME, name, text)                                                        \
    case ID:                                                                                       \
        return plumb_scores_##name(p, g);
#include <plumb/reward.def>
#undef PLUMB_FORMULA
    }
    return 0;
}

PLUMB_HD plumb_real plumb_scores_eval(int id, const struct plumb_scores *p,
                                      struct plumb_scores_grad *g)
{
    const plumb_real sum = plumb_finite(p->chosen + p->rejected);
    const plumb_real pull = p->center * sum;
    const plumb_real chosen = p->square * p->chosen, rejected = p->square * p->rejected;
    const plumb_real loss = plumb_scores_formula(id, p, g);
    g->dchosen += 2 * pull + chosen;
    g->drejected += 2 * pull + rejected;
    return loss + pull * sum + (chosen * p->chosen + rejected * p->rejected) / 2;
}
