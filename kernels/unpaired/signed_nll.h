/* -target lp + lambda u: target is an advantage or a weight of any sign. A-LoL KL, with lambda 0
 * A-LoL without reference (arXiv:2305.14718); with target = a for good and a - 1 for bad
 * completions the likelihood terms of PMPO as recalled (arXiv:2410.04166). */
#pragma once
#include "kernels/unpaired/completion.h"

PLUMB_HD plumb_real plumb_completion_signed_nll(const struct plumb_completion *p,
                                                struct plumb_completion_grad *g)
{
    g->dlp = p->lambda - p->target;
    return plumb_finite(p->lambda * p->u) - plumb_finite(p->target * p->lp);
}
