/* Chosen wins e^h / Z, rejected e^-h / Z, tie 2 nu / Z, h = (chosen - rejected - margin) / 2 and Z
 * their sum; -log of what happened. With q = e^-|h| nothing overflows or cancels. */
#pragma once
#include "kernels/reward/scores.h"

PLUMB_HD plumb_real plumb_scores_davidson(const struct plumb_scores *p, struct plumb_scores_grad *g)
{
    const plumb_real h = plumb_finite(p->chosen / 2 - p->rejected / 2 - p->margin / 2);
    const plumb_real far = plumb_abs(h), q = plumb_exp(-far), nu = p->ties, side = p->target;
    const plumb_real z = 1 + q * q + 2 * nu * q, more = plumb_log1p(q * q + 2 * nu * q);
    if (side != 1 && side != -1 && side != 0) {
        g->dchosen = g->drejected = (plumb_real)NAN;
        return (plumb_real)NAN;
    }
    if (side == 0) {
        g->dchosen = (h < 0 ? -1 : 1) * (1 - q * q) / z / 2;
        g->drejected = -g->dchosen;
        return far - plumb_log(2 * nu) + more;
    }
    const bool right = side * h > 0;
    g->dchosen = -side * (right ? q * (q + nu) : 1 + nu * q) / z;
    g->drejected = -g->dchosen;
    return (right ? 0 : 2 * far) + more;
}
