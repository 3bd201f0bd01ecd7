/* What a policy formula sees: one token (or, for losses of whole rows, the sums of one row). A
 * formula returns its loss and sets the derivatives; a further input is a further field here,
 * filled by the shells. */
#pragma once
#include "kernels/scalar.h"

struct plumb_policy_token { /* plumb_real only */
    plumb_real lp, old;     /* log-probs under the policy and under the one that sampled, nats */
    plumb_real r;           /* log of the ratio, at its level */
    plumb_real a;           /* advantage */
    plumb_real mark;
    plumb_real low, high, cap, tau_positive, tau_negative; /* see struct plumb_policy */
    plumb_real k_positive, k_negative, lambda_positive, lambda_negative, coef;
};

enum { PLUMB_POLICY_FREE, PLUMB_POLICY_LOW, PLUMB_POLICY_HIGH, PLUMB_POLICY_CAPPED };

struct plumb_policy_grad { /* plumb_real only; zeroed before */
    plumb_real dr;         /* d loss / d r */
    plumb_real dlp;        /* d loss / d lp, that through r aside */
    plumb_real factor;     /* what the advantage is multiplied by */
    plumb_real clip;       /* which end was met, as above */
};

/* x, at least `low` and at most `high`; NaN stays NaN. */
PLUMB_HD plumb_real plumb_policy_between(plumb_real x, plumb_real low, plumb_real high)
{
    return x < low ? low : x > high ? high : x;
}
