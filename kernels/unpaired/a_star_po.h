/* (beta u - (target - value))^2: target is the reward, value the optimal value of the prompt.
 * arXiv:2505.20686. */
#pragma once
#include "kernels/unpaired/completion.h"

PLUMB_HD plumb_real plumb_completion_a_star_po(const struct plumb_completion *p,
                                               struct plumb_completion_grad *g)
{
    const plumb_real e = plumb_finite(p->beta * p->u - (p->target - p->value));
    g->dlp = 2 * p->beta * e;
    g->dvalue = 2 * e;
    return plumb_finite(e * e);
}
