/* The family's switch: formula `id` of advantage.def on one response. `g`: no formula has
 * derivatives; PLUMB_FORMULA_PLAIN passes room for one. */
#pragma once
#include "gen/advantage_formulas.h"

struct plumb_member_grad {
    plumb_real none;
};

PLUMB_HD plumb_real plumb_member_eval(int id, const struct plumb_member *p,
                                      struct plumb_member_grad *g)
{
    (void)g;
    switch (id) {
#define PLUMB_FORMULA(ID, NAME, name, text)                                                        \
    case ID:                                                                                       \
        return plumb_member_##name(p);
#include <plumb/advantage.def>
#undef PLUMB_FORMULA
    }
    return 0;
}
