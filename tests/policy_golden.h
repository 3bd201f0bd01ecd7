/* What the adapters of golden/losses/policy share: padded rows become runs of tokens, the op runs,
 * what it found is reported. */
#pragma once
#include <plumb/policy.h>

#include "tests/golden_run.h"

struct policy_run {
    struct golden_rows rows;
    struct plumb_policy a;
    struct plumb_policy_counts counts;
    bool skips;                       /* masked tokens are in the runs, but have no target */
    double loss, policy_loss, tokens; /* after policy_finish; without the bonus; counted */
};

/* Rows, inputs and outputs of the case; the kind of loss and its options are the adapter's. */
void policy_begin(struct golden_run *r, struct policy_run *p, bool skips);
/* Input `name` of the case in the lay-out of the rows; absent when the case has none. */
struct plumb_tensor policy_input(struct golden_run *r, const struct policy_run *p,
                                 const char *name);
/* Runs the op and reports gradients, parts and the metrics of TRL and verl; false when it
 * failed. */
bool policy_finish(struct golden_run *r, struct policy_run *p);
/* The same, and reports the loss. */
void policy_report(struct golden_run *r, struct policy_run *p);
/* The kind of loss by the case's options under the names of TRL (`loss_type` where the case names
 * none; false when there is none) or of OpenRLHF; the latter runs and reports as well. */
bool policy_trl_kind(struct golden_run *r, struct policy_run *p, const char *loss_type);
void policy_openrlhf(struct golden_run *r, struct policy_run *p);
/* Aggregation and divisor by verl's loss_agg_mode. */
void policy_verl_aggregation(struct golden_run *r, struct policy_run *p);
