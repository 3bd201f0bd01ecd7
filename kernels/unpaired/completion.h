/* What an unpaired formula sees: the numbers of one completion. A formula returns its loss in nats
 * and sets the derivatives; a further input is a further field here, filled by the shells. */
#pragma once
#include "kernels/scalar.h"

struct plumb_completion { /* plumb_real only */
    plumb_real lp;        /* log-prob sum under the policy, nats */
    plumb_real u;         /* its log-ratio against the reference, nats */
    plumb_real desirable; /* 1 or 0 */
    plumb_real kl;        /* the reference point, carries no gradient */
    plumb_real beta, desirable_weight, undesirable_weight;
    plumb_real shift;  /* a reward, carries no gradient */
    plumb_real target; /* reward, advantage or share of correct answers */
    plumb_real value;  /* what the target is expected to be */
    plumb_real lambda, clip, clamp_negative, normalize;
};

struct plumb_completion_grad {
    plumb_real dlp;    /* d loss / d lp, through the log-ratio as well */
    plumb_real dvalue; /* d loss / d value */
};
