/* AdamW over a model's flat buffers, with the clip factor folded in. */
#pragma once
#include "runtime/model.h"

/* What a step says of its gradient. */
struct plumb_optimizer_verdict {
    double norm;       /* L2, before clipping */
    int64_t first_bad; /* element that is not finite, or -1 */
};

struct plumb_optimizer {
    struct plumb_tensor m, v; /* (elements) master dtype */
    uint8_t *decay;           /* (elements / 32), the device's memory */
    struct plumb_tensor work; /* of the gradient norm */
    struct plumb_optimizer_verdict *verdict; /* of the last step, the device's memory */
    double beta1, beta2, eps, weight_decay;
    double max_grad_norm; /* 0 = no clipping */
    uint64_t seed;        /* of stochastic rounding */
};

/* Moments start at zero. Works on a counting arena. The hyperparameters are the caller's to set. */
int plumb_optimizer_init(struct plumb_optimizer *o, const struct plumb_model *m,
                         struct plumb_arena *run);
/* Step `step` (from 1) with rate `lr`. Nothing is waited for: o->verdict holds the result once the
 * device has come to it. A gradient that is not finite changes nothing. */
int plumb_optimizer_step(struct plumb_optimizer *o, struct plumb_model *m, int64_t step, double lr);
/* Fails with PLUMB_ENUM, naming the parameter, where step `step` met a gradient that is not
 * finite. */
int plumb_optimizer_check(const struct plumb_model *m, int64_t step,
                          const struct plumb_optimizer_verdict *v);
