/* (target - value - beta u)^2 / 2: target is the reward, value the prediction of the prompt's
 * value, which learns from dvalue; as DRO is recalled (arXiv:2405.19107). */
#pragma once
#include "kernels/unpaired/completion.h"

PLUMB_HD plumb_real plumb_completion_residual(const struct plumb_completion *p,
                                              struct plumb_completion_grad *g)
{
    const plumb_real e = plumb_finite(p->beta * p->u - (p->target - p->value));
    g->dlp = p->beta * e;
    g->dvalue = e;
    return plumb_finite(e * e / 2);
}
