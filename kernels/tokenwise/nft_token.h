/* nft (unpaired) on the ratio of each token. arXiv:2505.18116. */
#pragma once
#include "kernels/tokenwise/graded.h"
#include "kernels/unpaired/nft.h"

PLUMB_HD plumb_real plumb_graded_nft_token(const struct plumb_graded *p,
                                           struct plumb_graded_grad *g)
{
    const plumb_real loss = plumb_nft(p->u, p->desirable > 0, p->target, p->clamp_negative,
                                      p->normalize, &g->dlp);
    const plumb_real weight = p->desirable > 0 ? 1 : p->undesirable_weight;
    g->dlp *= weight;
    return weight * loss;
}
