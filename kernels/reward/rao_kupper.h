/* Chosen wins s(d - log theta), rejected s(-d - log theta), tie (theta^2 - 1) times both,
 * d = chosen - rejected - margin; -log of what happened. */
#pragma once
#include "kernels/reward/scores.h"

PLUMB_HD plumb_real plumb_scores_rao_kupper(const struct plumb_scores *p,
                                            struct plumb_scores_grad *g)
{
    const plumb_real d = plumb_scores_gap_of(p), side = p->target, eta = plumb_log(p->ties);
    if (side != 1 && side != -1 && side != 0) {
        g->dchosen = g->drejected = (plumb_real)NAN;
        return (plumb_real)NAN;
    }
    plumb_real first, second;
    const plumb_real won = plumb_scores_logistic(d - eta, &first);
    const plumb_real lost = plumb_scores_logistic(-d - eta, &second);
    g->dchosen = (side < 0 ? 0 : first) - (side > 0 ? 0 : second);
    g->drejected = -g->dchosen;
    if (side != 0) return side > 0 ? won : lost;
    return won + lost - plumb_log((p->ties - 1) * (p->ties + 1));
}
