/* The family's switch: formula `id` of tokenwise.def on one token. */
#pragma once
#include "gen/tokenwise_formulas.h"

PLUMB_HD plumb_real plumb_graded_eval(int id, const struct plumb_graded *p,
                                      struct plumb_graded_grad *g)
{
    switch (id) {
#define PLUMB_FORMULA(ID, NAME, name, text)                                                        \
    case ID:                                                                                       \
        return plumb_graded_##name(p, g);
#include <plumb/tokenwise.def>
#undef PLUMB_FORMULA
    }
    return 0;
}
