/* Policy losses on sampled tokens: PPO, GRPO and their kin. A loss is a formula of one token
 * (policy.def), a level at which the ratio rho = policy / policy that sampled is taken, an
 * aggregation of tokens to the loss, and a penalty for leaving a reference (kl.def); all in one
 * pass, with the gradient per token. What depends on the whole batch is an input: counts as
 * divisors, selections as weights (plumb/select.h). Loss types of other systems are rows of one
 * table: plumb_policy_preset. */
#pragma once
#include <plumb/kl.h>
PLUMB_BEGIN_C

/* Ids are fixed: a new formula takes the next number, none is reused. */
enum plumb_policy_loss {
#define PLUMB_FORMULA(ID, NAME, name, text) PLUMB_POLICY_##NAME = ID,
#include <plumb/policy.def>
#undef PLUMB_FORMULA
};

/* What rho is the exponential of. The gradient of a row's rho goes to all its tokens. For ratios of
 * macro actions the runs in `offset` are the macros: MEAN or SUM is taken over each. */
enum plumb_policy_level {
    PLUMB_LEVEL_TOKEN,     /* the token's own log-ratio log p - log p_old */
    PLUMB_LEVEL_MEAN,      /* the mean of the row's: GSPO; "sequence" of TRL */
    PLUMB_LEVEL_SUM,       /* their sum: the ratio of the whole row, RLOO */
    PLUMB_LEVEL_MEAN_TOKEN /* the value of MEAN, the gradient of TOKEN: GSPO-token */
};

/* The row's part of the loss; the loss is the sum of the rows' parts over `divisor`. */
enum plumb_policy_aggregation {
    PLUMB_AGGREGATE_TOKENS,    /* the sum of its tokens' terms */
    PLUMB_AGGREGATE_ROW_MEANS, /* their mean, 0 for a row without tokens */
    PLUMB_AGGREGATE_ROWS       /* one term a row: the formula on the sums of the row's log-probs,
                                * with the row's rho (level MEAN or SUM), plus the mean of its
                                * tokens' penalty. A row without tokens has rho 1 */
};

/* Columns of `stats`, sums over the counted tokens of a row. LOW, HIGH, CAPPED and RATIO are of the
 * row itself (0 or 1; its rho) where it has one ratio and one advantage; else they count tokens. */
enum plumb_policy_stat {
    PLUMB_STAT_TOKENS,    /* counted tokens */
    PLUMB_STAT_LOW,       /* A < 0 and rho below ratio_low (TRL clip_ratio/low_*) */
    PLUMB_STAT_HIGH,      /* A > 0 and rho above ratio_high (clip_ratio/high_*, cispo_clip_ratio) */
    PLUMB_STAT_CAPPED,    /* A < 0 and rho above cap (verl pg_clipfrac_lower) */
    PLUMB_STAT_RATIO,     /* what A is multiplied by: rho, clipped in cispo, phi in vespo */
    PLUMB_STAT_LOG_RATIO, /* log p - log p_old, clamped (verl ppo_kl: minus its mean) */
    PLUMB_STAT_KL,        /* the estimate of the divergence, without beta */
    PLUMB_STAT_ENTROPY,   /* nats, without weights */
    PLUMB_POLICY_STATS
};

struct plumb_policy {
    size_t struct_bytes;
    enum plumb_policy_loss loss;
    enum plumb_policy_level level;
    enum plumb_policy_aggregation aggregation;
    int64_t B;                           /* rows: sampled completions */
    const int32_t *offset;               /* (B+1) token runs of the rows; M = offset[B] */
    const int32_t *target;               /* (M) -1 = the token counts nowhere, whatever it holds;
                                          * NULL = all count */
    struct plumb_tensor logp;            /* (M) in, f32 nats: policy */
    struct plumb_tensor old_logp;        /* (M) in, f32 nats: policy that sampled, constant; absent
                                          * = logp itself, so rho = 1 with its gradient */
    struct plumb_tensor ref_logp;        /* (M) in, f32 nats: reference; read when beta is not 0 */
    struct plumb_tensor advantage;       /* (B) in, f32: A of each row; or absent with */
    struct plumb_tensor token_advantage; /* (M) in, f32: A of each token (their mean for ROWS) */
    /* Constant factors of a token's policy term, not of the penalty; absent = 1. Not with ROWS. */
    struct plumb_tensor sampler_ratio;   /* (M) in, f32 >= 0: trainer over sampler. vespo takes it
                                          * into rho instead: of skipped tokens as well, each log in
                                          * [ln 1e-8, 20] (TRL) */
    struct plumb_tensor weight;          /* (M) in, f32 */
    struct plumb_tensor row_weight;      /* (B) in, f32: of a row's whole part; absent = 1 */
    struct plumb_tensor mark;            /* (M) in, f32: what kl_cov and critique treat apart;
                                          * absent = 0 */
    double divisor;                      /* >= 0: a count of the step (rows, tokens, ...); 0 =
                                          * nothing counts: gradients 0 */
    /* Options of the formulas, f32 precision where a formula reads them. */
    double ratio_low, ratio_high;        /* clip, cispo: rho ends at them, 0 <= low <= high;
                                          * dppo_*: largest distance below, above */
    double cap;                          /* dppo_*, clip with A < 0: largest rho; 0 = none. Dual
                                          * clip and TRL's delta alike */
    double tau_positive, tau_negative;   /* sapo, > 0 */
    double k_positive, k_negative, lambda_positive, lambda_negative; /* vespo */
    double coef;                         /* dro, kl_cov: >= 0; critique: > 0 */
    /* The token's log-ratio before its level; beyond an end it has no gradient. */
    double log_ratio_clamp;              /* ends at +- this; 0 = none (verl, OpenRLHF, vespo: 20) */
    double log_ratio_low, log_ratio_high; /* ends at -low where A < 0, at high where A > 0; 0 = none
                                           * (GMPO: 0.4). STAT_LOW and HIGH then count its ends */
    double row_ratio_max;                /* the row's log-ratio ends there; 0 = none (gspo_token:
                                          * 10) */
    /* + beta * estimate(log p - log p_ref) per token. */
    double beta;                         /* 0 = none */
    enum plumb_kl_estimator estimator;   /* k3_importance_weighted: the ratio is rho */
    double kl_clamp;                     /* see struct plumb_kl */
    /* - entropy_coef * sum of weight * entropy / divisor. */
    struct plumb_tensor entropy;         /* (M) in, f32 nats; absent = no bonus, no statistic */
    struct plumb_tensor entropy_weight;  /* (M) in, f32; absent = 1 */
    struct plumb_tensor entropy_count;   /* (1) in, f32: takes the place of entropy_divisor (what a
                                          * selection has counted) */
    bool entropy_row_means;              /* rows give their means, not their sums */
    double entropy_coef, entropy_divisor; /* divisor >= 0; 0 = nothing counts */
    /* The loss is sum(losses) / divisor - entropy_coef * sum(bonus) / entropy_divisor. */
    struct plumb_tensor losses;          /* (B) out, f32: parts of the rows, with the penalty */
    struct plumb_tensor bonus;           /* (B) out, f32: weighted entropy of the rows; absent = not
                                          * wanted */
    struct plumb_tensor stats;           /* (B, PLUMB_POLICY_STATS) out, f32; absent = not wanted */
    struct plumb_tensor dlogp;           /* (M) out, f32: d loss / d logp; absent = evaluation */
    struct plumb_tensor dentropy;        /* (M) out, f32: d loss / d entropy; absent = not wanted */
};
/* Reads each input once on a token level, the log-ratios again where rows have one. A row's results
 * do not depend on the others. Finite for all finite inputs (saturates); no clamp unless asked for.
 * Values agree with golden/losses/policy. Fails: PLUMB_EINVAL naming the argument. */
int plumb_policy(const struct plumb_device *dev, const struct plumb_policy *a);
void plumb_policy_ref(const struct plumb_policy *a, enum plumb_dtype round);
/* For an epilogue of plumb_logprob_fused: *out = the rows of `a` whose tokens are [first,
 * first+count), for the next call of plumb_policy. `offset` is a->offset in host memory (on cpu and
 * ref the same). Fails: PLUMB_EINVAL when that is no run of whole rows. */
int plumb_policy_part(const struct plumb_policy *a, const int32_t *offset, int64_t first,
                      int64_t count, struct plumb_policy *out);
/* A formula's name to its id, or -1; id to name, or NULL. */
int plumb_policy_find(const char *name);
const char *plumb_policy_name(int id);

/* What the loss types of TRL 1.16 and others are made of. */
struct plumb_policy_counts {
    int64_t rows;                  /* of the batch or micro-batch whose loss is a mean */
    int64_t rows_with_tokens;
    int64_t tokens;                /* its counted tokens */
    int64_t step_tokens;           /* those of the whole optimiser step (num_items_in_batch) */
    int64_t max_completion_length; /* tokens */
};
/* Sets loss, level, aggregation, divisor and the formula's options of `loss_type`; nothing else.
 * Clips are given as TRL's epsilon (low) and epsilon_high, delta (0 = none): the ratio ends at 1 -
 * epsilon and 1 + epsilon_high, but in cispo at epsilon_high itself. Options that TRL has defaults
 * for (sapo's temperatures, vespo's k and lambda, GMPO's ends) are set to them. The level is the
 * type's own: TRL's importance_sampling_level "sequence" is level MEAN afterwards. Fails:
 * PLUMB_EINVAL when there is no such type. */
int plumb_policy_preset(const char *loss_type, const struct plumb_policy_counts *counts,
                        double epsilon, double epsilon_high, double delta, struct plumb_policy *a);
/* Names of the types: index 0, 1, ... until NULL. */
const char *plumb_policy_preset_name(int index);

PLUMB_END_C
