/* What pairwise losses take from a batch: each op reads numbers of all pairs and writes a tensor
 * that plumb_pairwise reads, on the device throughout. "Batch" is whatever the caller hands over:
 * TRL's scope is the micro-batch. Sums are those of sequences, rows 2i chosen, as plumb_pairwise or
 * plumb_segsum_fwd leaves them. Values of aot, aot_unpaired, dr_dpo and hypo are in
 * golden/losses. */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_C

/* Differences of sorted values: log pi(chosen) - log pi(rejected) of the policy and of the
 * reference, sorted apart; unpaired: the log-ratios of chosen and of rejected sides. Ascending,
 * ties keep their order, NaN comes last. A pair, or each of its sides, gets the difference of the
 * rank that it holds, so that losses and gradients are in the order of the pairs.
 * Source: arXiv:2406.05882, TRL's aot and aot_unpaired. */
struct plumb_aot {
    size_t struct_bytes;
    int64_t B;
    bool unpaired;
    struct plumb_tensor logps;   /* (2B) in, f32: sums under the policy */
    struct plumb_tensor ref_sum; /* (2B) in, f32: under the reference; absent = 0 */
    struct plumb_tensor gap;     /* (B) or, unpaired, (2B) out, f32 */
    int32_t *rank;               /* (B) or (2B) out: the ranks; NULL = not wanted */
    struct plumb_tensor work;    /* plumb_aot_workspace bytes */
};
int plumb_aot(const struct plumb_device *dev, const struct plumb_aot *a);
size_t plumb_aot_workspace(const struct plumb_device *dev, const struct plumb_aot *a);
void plumb_aot_ref(const struct plumb_aot *a, enum plumb_dtype round);

/* loss = -beta_prime log mean e^(-l / beta_prime) over the losses l of a batch, and the weights of
 * the pairs in its gradient: B e^(-l / beta_prime) / sum, so that plumb_pairwise with the same
 * divisor writes the gradient. First call it for the losses, without dlogp.
 * Source: Dr. DPO, arXiv:2407.07880. */
struct plumb_dr_dpo {
    size_t struct_bytes;
    int64_t B;
    double beta_prime;           /* > 0 */
    struct plumb_tensor losses;  /* (B) in, f32 */
    struct plumb_tensor weight;  /* (B) out, f32 */
    struct plumb_tensor loss;    /* (1) out, f32; 0 for no pairs */
};
int plumb_dr_dpo(const struct plumb_device *dev, const struct plumb_dr_dpo *a);
void plumb_dr_dpo_ref(const struct plumb_dr_dpo *a, enum plumb_dtype round);

/* loss = sum_g q_g mean_g(l) over groups of pairs; before that q_g <- q_g e^(step mean_g(l)) / Z.
 * A group without pairs counts as loss 0. weight_i = q_g B / pairs of g. q carries no gradient.
 * Source: group-robust preference optimisation, arXiv:2405.20304. */
struct plumb_group_robust {
    size_t struct_bytes;
    int64_t B, G;                /* pairs; groups, 1 .. 1024 */
    const int32_t *group;        /* (B) in [0,G) */
    double step;                 /* 0 = q stays */
    struct plumb_tensor losses;  /* (B) in, f32 */
    struct plumb_tensor q;       /* (G) in and out, f32: state; adds up to 1 afterwards */
    struct plumb_tensor weight;  /* (B) out, f32 */
    struct plumb_tensor loss;    /* (1) out, f32 */
};
/* On cuda, where nobody can look, a pair of a group out of range has weight NaN. */
int plumb_group_robust(const struct plumb_device *dev, const struct plumb_group_robust *a);
void plumb_group_robust_ref(const struct plumb_group_robust *a, enum plumb_dtype round);

/* beta by batch and a choice of pairs, for sigmoid_scaled: target_2i = beta' / beta with beta' =
 * max(least, beta (1 + alpha (mean D of the kept - m))), D = difference of the log-ratios; weight =
 * 1 for the B - floor(drop B) pairs that are kept, drawn without replacement by e^(-(D - m)^2 / (2
 * s^2)), else 0. m and s, running mean and deviation of D, take in the batch first:
 * m <- decay m + (1 - decay) mean.
 * Source: beta-DPO, arXiv:2407.08639; no golden: tested by hand-made batches. */
struct plumb_beta_dpo {
    size_t struct_bytes;
    int64_t B;
    double beta, alpha, least;   /* > 0; 0 = beta' is beta; > 0, published 1e-3 */
    double drop, decay;          /* [0, 1), published 0.2; [0, 1], published 0.9, 1 = state stays */
    uint64_t seed, step;         /* of the draw */
    struct plumb_tensor logps, ref_sum; /* (2B) in, f32; ref_sum absent = 0 */
    struct plumb_tensor state;   /* (2) in and out, f32: m, s */
    struct plumb_tensor target;  /* (2B) out, f32; rows 2i+1: 0 */
    struct plumb_tensor weight;  /* (B) out, f32 */
    struct plumb_tensor work;    /* plumb_beta_dpo_workspace bytes */
};
int plumb_beta_dpo(const struct plumb_device *dev, const struct plumb_beta_dpo *a);
size_t plumb_beta_dpo_workspace(const struct plumb_device *dev, const struct plumb_beta_dpo *a);
void plumb_beta_dpo_ref(const struct plumb_beta_dpo *a, enum plumb_dtype round);

/* margin_i = scale (D_i - m) / s for simpo, D = difference of the log-ratios' means over tokens (of
 * their sums without `means`); m and s as in plumb_beta_dpo; 0 where s is 0. scale = beta alpha,
 * and simpo's gamma is beta times the constant part of the margin.
 * Source: alpha-DPO, arXiv:2410.10148; no golden: tested by hand-made batches. */
struct plumb_alpha_dpo {
    size_t struct_bytes;
    int64_t B;
    bool means;
    const int32_t *offset;       /* (2B+1) token runs: lengths; read with `means` alone */
    double scale, decay;
    struct plumb_tensor logps, ref_sum; /* (2B) in, f32; ref_sum absent = 0 */
    struct plumb_tensor state;   /* (2) in and out, f32: m, s */
    struct plumb_tensor margin;  /* (B) out, f32 */
};
int plumb_alpha_dpo(const struct plumb_device *dev, const struct plumb_alpha_dpo *a);
void plumb_alpha_dpo_ref(const struct plumb_alpha_dpo *a, enum plumb_dtype round);

/* y = x - mean of the other k - 1 values of its prompt; x itself where k is 1. With x the
 * log-ratios of k samples of each prompt, y weighs their log-probs in the reverse KL's gradient.
 * Source: HyPO, arXiv:2406.01462. */
struct plumb_leave_one_out {
    size_t struct_bytes;
    int64_t B, k;                /* prompts; values of each, >= 1 */
    struct plumb_tensor x, y;    /* (B k) in, out, f32; may be one */
};
int plumb_leave_one_out(const struct plumb_device *dev, const struct plumb_leave_one_out *a);
void plumb_leave_one_out_ref(const struct plumb_leave_one_out *a, enum plumb_dtype round);

PLUMB_END_C
