/* -sg[target r] lp, r = e^u kept in [1 - clip, 1 + clip] (clip 0: as it is): target is the
 * advantage. arXiv:2305.14718. */
#pragma once
#include "kernels/unpaired/completion.h"

/* The ratio of a log-ratio. */
PLUMB_HD plumb_real plumb_a_lol_ratio(plumb_real u, plumb_real clip)
{
    const plumb_real r = plumb_finite(plumb_exp(u));
    if (!(clip > 0)) return r;
    return r > 1 + clip ? 1 + clip : r < 1 - clip ? 1 - clip : r;
}

PLUMB_HD plumb_real plumb_completion_a_lol(const struct plumb_completion *p,
                                           struct plumb_completion_grad *g)
{
    const plumb_real weight = plumb_finite(p->target * plumb_a_lol_ratio(p->u, p->clip));
    g->dlp = -weight;
    return -weight * p->lp;
}
