/* Correct: -w log R; wrong: -w w_u log of (1 - r R) / (1 - r), at least clamp_negative in value but
 * not in its slope; R = e^min(u, 10), r = target in [.02, .98], the share of correct answers of the
 * prompt; w = 1, 1 - r or sqrt((1 - r) / r) as normalize says 0, 1 or 2. arXiv:2505.18116. */
#pragma once
#include "kernels/unpaired/completion.h"

/* w log-term of a log-ratio u, and its derivative. */
PLUMB_HD plumb_real plumb_nft(plumb_real u, bool correct, plumb_real rate, plumb_real least,
                              plumb_real normalize, plumb_real *du)
{
    const plumb_real r = rate < PLUMB_R(0.02)   ? PLUMB_R(0.02)
                         : rate > PLUMB_R(0.98) ? PLUMB_R(0.98)
                                                : rate;
    const plumb_real odds = r / (1 - r), slope = u > 10 ? 0 : 1, x = u > 10 ? 10 : u;
    const plumb_real w = normalize > 1 ? PLUMB_MATH(sqrt)(1 / odds) : normalize > 0 ? 1 - r : 1;
    if (correct) {
        *du = -w * slope;
        return -w * x;
    }
    const plumb_real more = -odds * plumb_expm1(x); /* of (1 - r R) / (1 - r) than 1 */
    const bool kept = !(1 + more < least);
    *du = w * slope * odds * plumb_exp(x) / (kept ? 1 + more : least);
    return -w * (kept ? plumb_log1p(more) : plumb_log(least));
}

PLUMB_HD plumb_real plumb_completion_nft(const struct plumb_completion *p,
                                         struct plumb_completion_grad *g)
{
    const plumb_real loss = plumb_nft(p->u, p->desirable > 0, p->target, p->clamp_negative,
                                      p->normalize, &g->dlp);
    const plumb_real weight = p->desirable > 0 ? 1 : p->undesirable_weight;
    g->dlp *= weight;
    return weight * loss;
}
