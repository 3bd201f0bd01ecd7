/* What an unpaired formula sees: the numbers of one completion. A formula returns its loss in nats
 * and sets the derivative; a further input is a further field here, filled by the shells. */
#pragma once
#include "kernels/scalar.h"

struct plumb_completion { /* plumb_real only */
    plumb_real lp;        /* log-prob sum under the policy, nats */
    plumb_real u;         /* its log-ratio against the reference, nats */
    plumb_real desirable; /* 1 or 0 */
    plumb_real kl;        /* the reference point, carries no gradient */
    plumb_real beta, desirable_weight, undesirable_weight;
};

struct plumb_completion_grad {
    plumb_real dlp; /* d loss / d lp, through the log-ratio as well */
};
