/* Desirable: -lp; undesirable: -w log(1 - e^lp), 1 - e^lp at least 1e-20. arXiv:1908.04319. */
#pragma once
#include "kernels/tokenwise/graded.h"

PLUMB_HD plumb_real plumb_graded_unlikelihood(const struct plumb_graded *p,
                                              struct plumb_graded_grad *g)
{
    const plumb_real rest = -plumb_expm1(p->lp), least = PLUMB_R(1e-20);
    if (p->desirable > 0) {
        g->dlp = -1;
        return -p->lp;
    }
    g->dlp = rest < least ? 0 : p->undesirable_weight * (1 - rest) / rest;
    return -p->undesirable_weight * plumb_log(rest < least ? least : rest);
}
