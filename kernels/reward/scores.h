/* What a reward-model formula sees: the scores of one pair. A formula returns its loss in nats and
 * sets the derivatives; a further input is a further field here, filled by the shells. */
#pragma once
#include "kernels/scalar.h"

struct plumb_scores {                          /* plumb_real only */
    plumb_real chosen, rejected;               /* the pair's scores */
    plumb_real margin;                         /* taken from chosen - rejected */
    plumb_real target;                         /* a probability, or who won: 1, 0 for a tie, -1 */
    plumb_real sign_chosen, sign_rejected;     /* +1 labelled safe, -1 unsafe */
    plumb_real anchor_chosen, anchor_rejected; /* scores of each against itself */
    plumb_real center, square;                 /* coefficients of what is added to every formula */
    plumb_real ties, floor, lapse, bias;
};

struct plumb_scores_grad {
    plumb_real dchosen, drejected;
    plumb_real danchor_chosen, danchor_rejected;
};

/* How far chosen lies above rejected. */
PLUMB_HD plumb_real plumb_scores_gap_of(const struct plumb_scores *p)
{
    return plumb_finite(p->chosen - p->rejected - p->margin);
}

/* -log s(x); *slope = its derivative. */
PLUMB_HD plumb_real plumb_scores_logistic(plumb_real x, plumb_real *slope)
{
    *slope = -plumb_sigmoid(-x);
    return plumb_softplus(-x);
}

/* -log(share s(x) + added), share > 0 and added >= 0: as a sum of exponentials, so that neither
 * s(x) near 0 nor an added of 0 loses digits. */
PLUMB_HD plumb_real plumb_scores_mixed(plumb_real x, plumb_real share, plumb_real added,
                                       plumb_real *slope)
{
    const plumb_real a = plumb_log(share) + plumb_logsigmoid(x), b = plumb_log(added);
    *slope = -plumb_sigmoid(-x) * plumb_sigmoid(a - b);
    return -plumb_max(a, b) - plumb_log1p(plumb_exp(-plumb_abs(a - b)));
}
