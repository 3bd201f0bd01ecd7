/* The family's switch: formula `id` of kl.def on one token, clamped. */
#pragma once
#include "gen/kl_formulas.h"

PLUMB_HD plumb_real plumb_kl_unclamped(int id, const struct plumb_kl_token *p,
                                       struct plumb_kl_grad *g)
{
    switch (id) {
#define PLUMB_FORMULA(ID, NAME, name, text)                                                        \
    case ID:                                                                                       \
        return plumb_kl_##name(p, g);
#include <plumb/kl.def>
#undef PLUMB_FORMULA
    }
    return 0;
}

PLUMB_HD plumb_real plumb_kl_eval(int id, const struct plumb_kl_token *p, struct plumb_kl_grad *g)
{
    const plumb_real value = plumb_kl_unclamped(id, p, g);
    if (!(p->clamp > 0 && plumb_abs(value) > p->clamp)) return value;
    g->dlp = g->dr = 0;
    return value < 0 ? -p->clamp : p->clamp;
}
