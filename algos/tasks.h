/* The offline trainers as tasks of the shared loop. The config, and what else a task is made of,
 * must outlive it. */
#pragma once
#include <plumb/listwise.h>
#include <plumb/pairwise.h>
#include <plumb/unpaired.h>

#include "algos/trainer.h"

/* What the likelihood beside a pairwise loss is taken of; a mean over the tokens of a
 * micro-batch, as in TRL. */
enum plumb_likelihood {
    PLUMB_LIKELIHOOD_CHOSEN, /* the chosen completions */
    PLUMB_LIKELIHOOD_WHOLE,  /* prompts and chosen completions */
    PLUMB_LIKELIHOOD_THIRD   /* third completions */
};

/* What the methods that train on pairs differ in. */
struct plumb_pairs {
    struct plumb_pairwise loss; /* its options: beta, ...; the trainer sets tensors and counts */
    struct plumb_pairwise_term terms[8];
    bool reference_free;
    bool means; /* logps/ and rewards/ are made of means over tokens, not of sums */
    double reward_alpha; /* AlphaPO's shape of rewards/: beta (1 - e^(-alpha logp)) / alpha;
                          * 0 = beta (logp - reference) */
    enum plumb_likelihood likelihood;
    double ld_alpha;    /* of tokens beyond the length of a pair's shorter side; NaN = all count */
    bool use_weighting; /* pairs by how likely the policy finds both sides */
    double likelihood_weight; /* of what no term holds: prompts or third completions, >= 0 */
    bool nll_metric, log_odds;
};
struct plumb_task plumb_task_pairs(const char *name, const struct plumb_train_config *c,
                                   const struct plumb_pairs *o);

struct plumb_task plumb_task_sft(const struct plumb_sft_config *c);
/* Its teacher's shape is the caller's to set. */
struct plumb_task plumb_task_distill(const struct plumb_distill_config *c);
/* These fill *pairs. Fails on an unknown loss_type, too many of them, or loss_weights of another
 * length. */
int plumb_task_dpo(const struct plumb_dpo_config *c, struct plumb_pairs *pairs,
                   struct plumb_task *out);
struct plumb_task plumb_task_cpo(const struct plumb_cpo_config *c, struct plumb_pairs *pairs);
struct plumb_task plumb_task_orpo(const struct plumb_orpo_config *c, struct plumb_pairs *pairs);
struct plumb_task plumb_task_tpo(const struct plumb_tpo_config *c, struct plumb_pairs *pairs);

/* What single completions with a label are judged by, beside their own log-ratios. */
enum plumb_reference_point {
    PLUMB_POINT_NONE,
    PLUMB_POINT_KL,   /* the policy's drift on mismatched completions */
    PLUMB_POINT_DELTA /* the mean of all rewards so far, which the trainer keeps */
};
struct plumb_ratings {
    struct plumb_unpaired loss; /* its options; the trainer sets tensors and counts */
    enum plumb_reference_point point;
};
struct plumb_task plumb_task_kto(const struct plumb_kto_config *c, struct plumb_ratings *o);
struct plumb_task plumb_task_bco(const struct plumb_bco_config *c, struct plumb_ratings *o);

struct plumb_ranking {
    struct plumb_listwise loss; /* its options; the trainer sets tensors and counts */
    bool reference_free;
    bool over_pairs; /* the mean is over the pairs of unequal scores, not over lists */
};
struct plumb_task plumb_task_listwise(const struct plumb_listwise_config *c,
                                      struct plumb_ranking *o);
struct plumb_task plumb_task_reward(const struct plumb_reward_config *c);
