/* What an estimator of the divergence sees: one sampled token. A formula returns its value in nats
 * and sets the derivatives. */
#pragma once
#include "kernels/scalar.h"

struct plumb_kl_token { /* plumb_real only */
    plumb_real d;       /* log-prob under the policy minus the reference's, nats */
    plumb_real lr;      /* minus that under the policy that sampled: log of the ratio */
    plumb_real clamp;   /* see struct plumb_kl */
};

struct plumb_kl_grad {
    plumb_real dlp; /* by the token's log-prob, all of it */
    plumb_real dr;  /* the part of it that goes through lr */
};
