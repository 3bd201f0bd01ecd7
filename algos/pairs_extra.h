/* What some pairwise losses take from a micro-batch beside log-probs: weights of tokens (LD-DPO)
 * and of pairs (WPO), sorted differences (AOT). */
#pragma once
#include "algos/policy.h"
#include "algos/tasks.h"

struct plumb_pairs_extra { /* tensors in the step arena; absent = not wanted */
    const struct plumb_device *dev;
    struct plumb_tensor token_weight;      /* (targets) */
    struct plumb_tensor weight;            /* (pairs) */
    struct plumb_tensor log_sum_sq;        /* (targets): an output of the head */
    struct plumb_tensor aot, aot_unpaired; /* (pairs), (2 pairs) */
    struct plumb_tensor work;
};

/* Whether a loss is one of the whole micro-batch, which the head must not cut then. */
bool plumb_pairs_are_one(const struct plumb_pairs *o);
/* Storage for up to so many pairs and targets. Works on a counting arena. */
int plumb_pairs_extra_init(struct plumb_pairs_extra *x, const struct plumb_pairs *o,
                           const struct plumb_model *m, int64_t pairs, int64_t targets,
                           struct plumb_arena *step);
/* Fills token_weight. */
int plumb_pairs_extra_tokens(const struct plumb_pairs_extra *x, const struct plumb_pairs *o,
                             int64_t pairs, const struct plumb_batch *b);
void plumb_pairs_extra_set(const struct plumb_pairs_extra *x, struct plumb_pairwise *loss);
/* Before the loss of `part`, whose log-probs are there: fills its other inputs. */
int plumb_pairs_extra_run(const struct plumb_pairs_extra *x, const struct plumb_pairwise *part);
