/* -sg[target r] lp, r = e^u of the token kept in [1 - clip, 1 + clip] (clip 0: as it is): target is
 * the advantage. arXiv:2305.14718. */
#pragma once
#include "kernels/tokenwise/graded.h"
#include "kernels/unpaired/a_lol.h"

PLUMB_HD plumb_real plumb_graded_a_lol_seq(const struct plumb_graded *p,
                                           struct plumb_graded_grad *g)
{
    const plumb_real weight = plumb_finite(p->target * plumb_a_lol_ratio(p->u, p->clip));
    g->dlp = -weight;
    return -weight * p->lp;
}
