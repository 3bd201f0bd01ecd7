/* The family's switch: formula `id` of reward.def on one pair of scores. */
#pragma once
#include "gen/reward_formulas.h"

PLUMB_HD plumb_real plumb_scores_eval(int id, const struct plumb_scores *p,
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
