/* Advantages of whole responses from the rewards of their group (the samples of one prompt).
 * Formulas: advantage.def. All are constants of the losses that read them: no gradients. */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_C

/* Ids are fixed: a new formula takes the next number, none is reused. */
enum plumb_advantage_formula {
#define PLUMB_FORMULA(ID, NAME, name, text) PLUMB_ADVANTAGE_##NAME = ID,
#include <plumb/advantage.def>
#undef PLUMB_FORMULA
};

/* Standard deviations divide by n - 1. A group without variance gets 0. Spread to tokens by
 * plumb_segsum_bwd; several rewards: plumb_reward_mix before, or after on each one's advantages. */
struct plumb_advantage {
    size_t struct_bytes;
    enum plumb_advantage_formula formula;
    int64_t N, G;                /* responses, groups */
    const int32_t *offset;       /* (G+1) runs: of responses, or of index */
    const int32_t *index;        /* (offset[G]) the responses of each run; NULL = in order */
    struct plumb_tensor reward;  /* (N) in, f32 */
    struct plumb_tensor weight;  /* (N) in, f32: of a response in its group's mean, where a formula
                                  * reads a weighted one (opo: its length); absent = 1 */
    const double *moments;       /* (PLUMB_MOMENTS of whiten.h) in: of the rewards of the batch,
                                  * where a formula reads its deviation or counts */
    bool keep_single;            /* a group of one keeps its reward (verl: baseline 0, deviation 1);
                                  * else it gets 0 (TRL) */
    double epsilon;              /* >= 0: added to deviations */
    struct plumb_tensor advantage; /* (N) out, f32: of the responses in groups; may be reward
                                    * where index is NULL */
    struct plumb_tensor mean, deviation; /* (G) out, f32: of the rewards; absent = not wanted */
};
/* Statistics in f64; a group's bits depend on its members alone. NaN stays in its group. Fails:
 * PLUMB_EINVAL naming the argument. */
int plumb_advantage(const struct plumb_device *dev, const struct plumb_advantage *a);
void plumb_advantage_ref(const struct plumb_advantage *a, enum plumb_dtype round);
int plumb_advantage_find(const char *name);
const char *plumb_advantage_name(int id);

/* From verdicts of a judge on all pairs of a group: mean_j d_ij / sqrt(sum d^2 / (2 K (K - 1)) +
 * epsilon) with antisymmetric d, row over column (arXiv:2505.16265; for d_ij = r_i - r_j the
 * normalised advantage), or with win_rate the mean over j != i of P(i beats j) (arXiv:2401.04056).
 * A group of one gets 0. */
struct plumb_verdicts {
    size_t struct_bytes;
    int64_t G, K;                /* groups of K responses, K in 1 .. 1024 */
    bool win_rate;
    double epsilon;              /* >= 0; published: 1e-6 */
    struct plumb_tensor score;   /* (G,K,K) in, f32 */
    struct plumb_tensor advantage; /* (G,K) out, f32 */
};
int plumb_verdicts(const struct plumb_device *dev, const struct plumb_verdicts *a);
void plumb_verdicts_ref(const struct plumb_verdicts *a, enum plumb_dtype round);

/* value = beta log(mean of e^(reward / beta)) of each group: the value of the KL-regularised
 * optimum (A*-PO, arXiv:2505.20686). An empty group has 0. */
struct plumb_optimal_value {
    size_t struct_bytes;
    int64_t N, G;                /* responses, groups */
    const int32_t *offset, *index; /* as in plumb_advantage */
    double beta;                 /* > 0 */
    struct plumb_tensor reward;  /* (N) in, f32 */
    struct plumb_tensor value;   /* (G) out, f32 */
};
int plumb_optimal_value(const struct plumb_device *dev, const struct plumb_optimal_value *a);
void plumb_optimal_value_ref(const struct plumb_optimal_value *a, enum plumb_dtype round);

/* The KL coefficient after an update over `steps` samples that measured `kl`: coefficient times
 * 1 + clip(kl / target - 1, +-0.2) steps / horizon (arXiv:1909.08593 section 2.2). */
double plumb_adaptive_kl(double coefficient, double kl, double target, double horizon,
                         double steps);

PLUMB_END_C
