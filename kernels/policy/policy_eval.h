/* The family's switch: formula `id` of policy.def on one token. */
#pragma once
#include "gen/policy_formulas.h"

PLUMB_HD plumb_real plumb_policy_eval(int id, const struct plumb_policy_token *p,
                                      struct plumb_policy_grad *g)
{
    switch (id) {
#define PLUMB_FORMULA(ID, NAME, name, text)                                                        \
    case ID:                                                                                       \
        return plumb_policy_##name(p, g);
#include <plumb/policy.def>
#undef PLUMB_FORMULA
    }
    return 0;
}
