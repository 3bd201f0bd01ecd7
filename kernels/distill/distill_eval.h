/* The family's switch: formula `id` of distill.def on one token. */
#pragma once
#include "gen/distill_formulas.h"

#include <plumb/distill.h>

#include "kernels/logit_shape.h"

PLUMB_HD plumb_real plumb_chance_eval(int id, const struct plumb_chance *c,
                                      struct plumb_chance_grad *g)
{
    switch (id) {
#define PLUMB_FORMULA(ID, NAME, name, text)                                                        \
    case ID:                                                                                       \
        return plumb_chance_##name(c, g);
#include <plumb/distill.def>
#undef PLUMB_FORMULA
    }
    return 0;
}

/* The formula that runs: the ends of the families are both divergences. */
static inline int plumb_distill_formula(const struct plumb_distill *a)
{
    const bool jsd = a->divergence == PLUMB_DIVERGENCE_JSD;
    const bool power = a->divergence == PLUMB_DIVERGENCE_ALPHA;
    if ((jsd && a->beta == 0) || (power && a->alpha == 1)) return PLUMB_DIVERGENCE_FORWARD_KL;
    if ((jsd && a->beta == 1) || (power && a->alpha == 0)) return PLUMB_DIVERGENCE_REVERSE_KL;
    return (int)a->divergence;
}

static inline struct plumb_logit_shape plumb_distill_shape(const struct plumb_distill *a,
                                                           const struct plumb_distill_head *h)
{
    return plumb_logit_shape(h->logit_scale, h->softcap, a->temperature);
}
