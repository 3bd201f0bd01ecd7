/* The family's switch: formula `id` of supervised.def on one token. */
#pragma once
#include "gen/supervised_formulas.h"

PLUMB_HD plumb_real plumb_token_eval(int id, const struct plumb_token *p,
                                     struct plumb_token_grad *g)
{
    switch (id) {
#define PLUMB_FORMULA(ID, NAME, name, text)                                                        \
    case ID:                                                                                       \
        return plumb_token_##name(p, g);
#include <plumb/supervised.def>
#undef PLUMB_FORMULA
    }
    return 0;
}
