/* AdamW over a model's flat buffers, with the clip factor folded in. */
#pragma once
#include "runtime/model.h"

struct plumb_optimizer {
    struct plumb_tensor m, v; /* (elements) master dtype */
    uint8_t *decay;           /* (elements / 32) */
    struct plumb_tensor work; /* of the gradient norm */
    double beta1, beta2, eps, weight_decay;
    double max_grad_norm; /* 0 = no clipping */
    uint64_t seed;        /* of stochastic rounding */
};

/* Moments start at zero. Works on a counting arena. The hyperparameters are the caller's to set. */
int plumb_optimizer_init(struct plumb_optimizer *o, const struct plumb_model *m,
                         struct plumb_arena *run);
/* Step `step` (from 1) with rate `lr`: *norm = L2 norm of the gradient before clipping. Fails
 * with PLUMB_ENUM, naming the parameter, and changes nothing, when a gradient is not finite. */
int plumb_optimizer_step(struct plumb_optimizer *o, struct plumb_model *m, int64_t step, double lr,
                         double *norm);
