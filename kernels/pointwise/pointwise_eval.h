/* The family's switch: formula `id` of pointwise.def on one score. */
#pragma once
#include "gen/pointwise_formulas.h"

PLUMB_HD plumb_real plumb_rating_eval(int id, const struct plumb_rating *p,
                                      struct plumb_rating_grad *g)
{
    switch (id) {
#define PLUMB_FORMULA(ID, NAME, name, text)                                                        \
    case ID:                                                                                       \
        return plumb_rating_##name(p, g);
#include <plumb/pointwise.def>
#undef PLUMB_FORMULA
    }
    return 0;
}
