/* (delta - 1 / (2 beta))^2: IPO on sums of log-ratios, arXiv:2310.12036 eq. 17. INPO
 * (arXiv:2407.00617) is this with the two anchors' log-probs mixed into one reference. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_ipo_sum(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    const plumb_real gap = p->delta - 1 / (2 * p->beta);
    g->dw = 2 * gap;
    g->dl = -g->dw;
    return gap * gap;
}
