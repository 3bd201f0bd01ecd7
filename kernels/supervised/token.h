/* What a likelihood formula sees: one token. A formula returns its loss in nats and sets the
 * derivative; a further input is a further field here, filled by the shells. */
#pragma once
#include "kernels/scalar.h"

struct plumb_token {   /* plumb_real only */
    plumb_real logp;   /* of the target, nats */
    plumb_real reward; /* of the token's segment */
    plumb_real value;  /* its prediction, no gradient */
    plumb_real beta, max_weight;
};

struct plumb_token_grad {
    plumb_real dlogp;
};
