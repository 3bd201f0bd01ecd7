/* The heads on a batch's hidden states: log-probs of its targets, and scalar scores of rows. */
#pragma once
#include <plumb/logprob.h>

#include "runtime/model.h"

/* What the head says about each target of a batch; (M) each, master dtype. In the step arena. */
struct plumb_head_out {
    int64_t M;
    struct plumb_tensor logp, entropy, mean_logit, dlogp;
    struct plumb_tensor log_sum_sq; /* absent, until the caller sets it */
    double temperature;             /* 1, until the caller sets it: what samples were drawn at */
    int32_t *argmax;
    struct plumb_tensor work;
    size_t work_bytes;
};

/* Storage for up to M targets of batches of up to N tokens; dlogp only with `backward`. Works on
 * a counting arena. */
int plumb_head_init(struct plumb_head_out *h, const struct plumb_model *m, int64_t N, int64_t M,
                    bool backward, struct plumb_arena *step);
/* The op's arguments for this batch: outputs set; gradients (dx = a->dhidden, dw, dbias) set
 * when h has dlogp. */
struct plumb_logprob plumb_head_args(const struct plumb_model *m, const struct plumb_batch *b,
                                     const struct plumb_acts *a, const struct plumb_head_out *h);

/* scores (B, num_labels), master dtype = score head on the hidden states of rows[0..B). panel is
 * scratch (B, D) compute. */
struct plumb_score {
    int64_t B;
    const int32_t *rows;         /* (B) */
    struct plumb_tensor scores;  /* (B, labels) out */
    struct plumb_tensor dscores; /* (B, labels) in for backward, compute dtype */
    struct plumb_tensor panel;   /* (B, D) compute; kept between forward and backward */
    struct plumb_tensor dpanel;  /* (B, D) master: scratch of backward */
};
int plumb_score_fwd(const struct plumb_model *m, const struct plumb_acts *a,
                    const struct plumb_score *s);
/* Sets a->dhidden (0 but in `rows`) and adds to the head's gradient. */
int plumb_score_bwd(const struct plumb_model *m, const struct plumb_batch *b, struct plumb_acts *a,
                    const struct plumb_score *s);
