/* What a formula by token sees: one token of a completion that was graded. A formula returns its
 * loss in nats and sets the derivative. */
#pragma once
#include "kernels/scalar.h"

struct plumb_graded {     /* plumb_real only */
    plumb_real lp;        /* log-prob of the token under the policy, nats */
    plumb_real u;         /* minus that under the other policy: log of the ratio */
    plumb_real desirable; /* 1 or 0, the completion's label */
    plumb_real target;    /* the completion's advantage or share of correct answers */
    plumb_real undesirable_weight, clip, clamp_negative, normalize;
};

struct plumb_graded_grad {
    plumb_real dlp;
};
