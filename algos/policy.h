/* What the likelihood trainers share: running a model on a batch, with the loss inside the head. */
#pragma once
#include "algos/trainer.h"
#include "runtime/head.h"

/* A model's pass over one batch. */
struct plumb_pass {
    const struct plumb_batch *batch;
    struct plumb_acts acts;
    struct plumb_head_out head;
    struct plumb_arena *step;
    struct plumb_tensor entropy, mean_logit, argmax; /* host memory, (targets): for metrics */
};

/* Storage for a pass over `tokens` tokens and `targets` targets; works on a counting arena. */
int plumb_pass_init(struct plumb_pass *p, const struct plumb_model *m,
                    const struct plumb_batch *batch, int64_t tokens, int64_t targets, bool backward,
                    struct plumb_arena *step);
/* Forward; then, with gradients, the head fused with the loss `epilogue`, which sees whole
 * groups, and backward; without, the head and one call of the epilogue (NULL = none) for all
 * targets. */
int plumb_pass_run(const struct plumb_model *m, struct plumb_pass *p, const int32_t *group,
                   int64_t groups, plumb_logprob_epilogue *epilogue, void *ctx);
/* What the metrics need is on its way to the host. */
int plumb_pass_fetch(struct plumb_pass *p);
/* sums (R, master dtype): log-probs of each sequence of `batch` under `m`; its storage is
 * released before returning. */
int plumb_pass_sums(const struct plumb_model *m, const struct plumb_batch *batch,
                    struct plumb_arena *step, struct plumb_tensor sums);
/* The same of each token times its weight (targets); absent = 1. */
int plumb_pass_sums_weighted(const struct plumb_model *m, const struct plumb_batch *batch,
                             struct plumb_arena *step, struct plumb_tensor weight,
                             struct plumb_tensor sums);
/* The pushes of plumb_pass_sums, for planning. */
int plumb_pass_sums_plan(const struct plumb_model *m, int64_t tokens, int64_t targets,
                         struct plumb_arena *step);

/* The same, with values for the host. */
int plumb_pass_sums_known(const struct plumb_model *m, const struct plumb_batch *batch,
                          struct plumb_arena *step, struct plumb_tensor *host_sums);

/* Mean over entries [first, last) of a host tensor; NaN over nothing. */
double plumb_mean(struct plumb_tensor t, int64_t first, int64_t last);
/* Share of the targets of sequences 0, stride, ... below `last` that are the head's argmax. */
double plumb_pass_accuracy(const struct plumb_pass *p, int64_t last, int64_t stride);
/* Fails with PLUMB_ENUM when a weight is not finite, naming it. Cost: one pass over the weights. */
int plumb_check_weights(const struct plumb_trainer *t);
/* Fails with PLUMB_ENUM when m->loss is not finite, naming step, data row and, where the device's
 * memory is the host's, the first tensor at fault. `losses` lie in host memory.
 * sequences_per_loss 0: they are those of the targets. */
int plumb_check_loss(const struct plumb_trainer *t, const struct plumb_micro *m,
                     const struct plumb_pass *p, struct plumb_tensor losses, int64_t count,
                     int64_t sequences_per_loss);
