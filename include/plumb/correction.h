/* Weights against a sampler that is not quite the policy (another engine, another precision, an
 * older version): per token, constant, for plumb_policy's sampler_ratio or weight. TRL's
 * vllm_importance_sampling_mode, OpenRLHF's is_correction_*, the off-policy mask of DeepSeek-V3.2
 * (arXiv:2512.02556) are rows of one table: plumb_correction_preset. Values of OpenRLHF's gates and
 * of the mask are in golden/losses/policy. */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_C

enum plumb_correction_level {
    PLUMB_CORRECT_TOKENS,    /* each token by itself */
    PLUMB_CORRECT_ROW_MEANS, /* a row by the mean of its tokens (of the log-ratio for RATIO) */
    PLUMB_CORRECT_ROW_SUMS   /* a row by their sum */
};

/* With p, q = probability of the token under sampler, trainer. */
enum plumb_correction_gate {
    PLUMB_GATE_RATIO,     /* q / p */
    PLUMB_GATE_BINARY_KL, /* p ln(p/q) + (1-p) ln((1-p)/(1-q)), p and q kept in [1e-6, 1-1e-6] */
    PLUMB_GATE_TV,        /* |p - q|, likewise */
    PLUMB_GATE_K1,        /* ln p - ln q */
    PLUMB_GATE_K3         /* q/p - 1 - ln(q/p) */
};

/* The weight of a unit within the band. */
enum plumb_correction_keep {
    PLUMB_KEEP_UNIT_RATIO, /* the unit's own q / p */
    PLUMB_KEEP_TOKEN_RATIO,
    PLUMB_KEEP_ONE
};

/* Columns of `stats`, of the counted tokens of a row. WEIGHT_*: before the product with
 * `weight`. */
enum plumb_correction_stat {
    PLUMB_CORRECTION_KNOWN,     /* tokens that the sampler has a log-prob for */
    PLUMB_CORRECTION_OUT,       /* tokens outside the band; 0 or 1 where rows are the units */
    PLUMB_CORRECTION_LOG_RATIO, /* sum of ln q - ln p */
    PLUMB_CORRECTION_ABS_SUM,   /* sum and maximum of its absolute value */
    PLUMB_CORRECTION_ABS_MAX,
    PLUMB_CORRECTION_WEIGHT_SUM,
    PLUMB_CORRECTION_WEIGHT_MIN, /* of a row without tokens: the unit's weight where rows are */
    PLUMB_CORRECTION_WEIGHT_MAX, /* units, else 0 */
    PLUMB_CORRECTION_STATS
};

/* A unit, a token or a row, has a statistic of trainer and sampler. In the band [low, high] the
 * weight is 1, or the ratio of trainer to sampler of the unit or of each token; outside it is 0, or
 * with `clip` the end of the band that the unit's ratio is beyond. */
struct plumb_correction {
    size_t struct_bytes;
    enum plumb_correction_level level;
    enum plumb_correction_gate gate;
    enum plumb_correction_keep keep;
    bool clip;                       /* RATIO: weights end at low and high; else units outside have
                                      * weight 0 */
    int64_t B;                       /* rows */
    const int32_t *offset;           /* (B+1) token runs of the rows; M = offset[B] */
    const int32_t *target;           /* (M) -1 = counts nowhere, its weight is that of `weight`;
                                      * NULL = all count */
    struct plumb_tensor logp;        /* (M) in, f32 nats: trainer */
    struct plumb_tensor sampler_logp;/* (M) in, f32 nats; NaN = the sampler gave none: as logp */
    struct plumb_tensor advantage;   /* (B) in, f32: rows with A >= 0 are never outside; absent =
                                      * all rows may be */
    struct plumb_tensor weight;      /* (M) in, f32: multiplied in; absent = 1 */
    double low, high;                /* low <= high; infinite = no end */
    struct plumb_tensor out;         /* (M) out, f32; shares no memory with an input */
    struct plumb_tensor stats;       /* (B, PLUMB_CORRECTION_STATS) out, f32; absent = not wanted */
};
/* When both engines are one, log-probs agree to the bit and all weights are exactly 1. A row's
 * results do not depend on the others; ratios saturate. Fails: PLUMB_EINVAL naming the argument. */
int plumb_correction(const struct plumb_device *dev, const struct plumb_correction *a);
void plumb_correction_ref(const struct plumb_correction *a, enum plumb_dtype round);

/* Sets level, gate, keep, clip, low and high of `mode`; low and high as the mode's source takes
 * them. Modes: token_truncate, token_mask, sequence_truncate, sequence_mask (TRL: low 0, high 3);
 * tis, icepop, seq_mask_tis (OpenRLHF: 0.5, 5); off_policy_mask (TRL: high is the threshold, low is
 * not read; give `advantage`). Fails: PLUMB_EINVAL when there is no such mode. */
int plumb_correction_preset(const char *mode, double low, double high, struct plumb_correction *a);
/* Names of the modes: index 0, 1, ... until NULL. */
const char *plumb_correction_preset_name(int index);

PLUMB_END_C
