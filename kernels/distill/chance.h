/* What a divergence sees: one token's chances. A formula returns the token's share of the
 * divergence in nats and sets what its derivative by p is made of. */
#pragma once
#include "kernels/scalar.h"

struct plumb_chance { /* plumb_real only */
    plumb_real logp;  /* of the policy, nats, finite */
    plumb_real logq;  /* of the teacher, nats, finite */
    plumb_real p, q;  /* e^logp, e^logq */
    plumb_real beta, alpha;
};

/* p times the derivative by p is p slope + direct: slope must not be large where p is not 0. */
struct plumb_chance_grad {
    plumb_real slope, direct;
};
