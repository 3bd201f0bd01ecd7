/* The family's switch: formula `id` of pairwise.def on one pair. */
#pragma once
#include "gen/pairwise_formulas.h"

PLUMB_HD plumb_real plumb_pair_eval(int id, const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    switch (id) {
#define PLUMB_FORMULA(ID, NAME, name, text)                                                        \
    case ID:                                                                                       \
        return plumb_pair_##name(p, g);
#include <plumb/pairwise.def>
#undef PLUMB_FORMULA
    }
    return 0;
}
