/* The family's switch: formula `id` of unpaired.def on one completion. */
#pragma once
#include "gen/unpaired_formulas.h"

PLUMB_HD plumb_real plumb_completion_eval(int id, const struct plumb_completion *p,
                                          struct plumb_completion_grad *g)
{
    switch (id) {
#define PLUMB_FORMULA(ID, NAME, name, text)                                                        \
    case ID:                                                                                       \
        return plumb_completion_##name(p, g);
#include <plumb/unpaired.def>
#undef PLUMB_FORMULA
    }
    return 0;
}
