/* P3O, the difference d = lw - ll clipped within gamma of its old value: -min(G d, G clip(d)) with
 * G = sg((tw - tl) rho_w rho_l). */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_p3o_v2(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    const plumb_real a = p->tw - p->tl, r = p->uw + p->ul, d = p->lw - p->ll;
    if (a > 0 && p->delta > p->gamma) return -plumb_times_exp(a * (d - p->delta + p->gamma), r);
    if (a < 0 && p->delta < -p->gamma) return -plumb_times_exp(a * (d - p->delta - p->gamma), r);
    g->dw = -plumb_times_exp(a, r);
    g->dl = -g->dw;
    return -plumb_times_exp(a * d, r);
}
