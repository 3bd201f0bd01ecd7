/* Rewards before advantages: several rewards of a response made one, and a response's reward spread
 * to its tokens with penalties for divergence, length and a missing end. No gradients. */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_C

/* How plumb_reward_mix combines: the sum; or of an ensemble's members (weights 1 throughout) the
 * mean, the least, or the mean less a share of the variance. */
enum plumb_mix { PLUMB_MIX_SUM, PLUMB_MIX_MEAN, PLUMB_MIX_LEAST, PLUMB_MIX_CAUTIOUS };
enum { PLUMB_MIX_MOST = 32 };

/* y[n] = the combination of weight[k] x[k][n] over k. An x that is NaN has no say (TRL: a reward
 * function that does not apply); without any the sum is 0, the others NaN. */
struct plumb_reward_mix {
    size_t struct_bytes;
    enum plumb_mix mix;
    int64_t N, K;                /* responses; rewards of each, 1 .. PLUMB_MIX_MOST */
    const double *weight;        /* (K) in, host memory; NULL = 1 */
    double caution;              /* cautious: times the variance */
    bool population;             /* variance / members, else / (members - 1) */
    struct plumb_tensor x;       /* (K,N) in, f32: a row for each reward function */
    struct plumb_tensor y;       /* (N) out, f32; may be row 0 of x */
};
/* f64, rounded once; saturates. Source: TRL reward_weights; arXiv:2310.02743 (ensembles). */
int plumb_reward_mix(const struct plumb_device *dev, const struct plumb_reward_mix *a);
void plumb_reward_mix_ref(const struct plumb_reward_mix *a, enum plumb_dtype round);

/* total = score - (unfinished ? missing_eos_penalty : 0) + overlong
 *   overlong = 0 up to L - c tokens, (L - c - tokens) / c up to L, -1 beyond: soft overlong
 *   punishment, arXiv:2503.14476 eq. 13, with L = max_length, c = overlong_cache
 * reward[t] = -kl_coef kl[t], plus total at the last token of a sequence (PPO, REINFORCE++)
 * shaped = total - kl_coef sum of kl (RLOO) */
struct plumb_reward_shape {
    size_t struct_bytes;
    int64_t R;                   /* sequences */
    const int32_t *offset;       /* (R+1) token runs; an empty run has no place for its total */
    struct plumb_tensor score;   /* (R) in, f32 */
    const int32_t *finished;     /* (R) in: 0 = ended without end of sequence; NULL = all did */
    struct plumb_tensor kl;      /* (offset[R]) in, f32 nats: of each token by an estimator of kl.h,
                                  * 0 where a token does not count; absent = 0 */
    double kl_coef;              /* finite */
    double missing_eos_penalty;  /* >= 0; 0 = none */
    int64_t max_length, overlong_cache; /* 0 = no punishment; 0 < cache <= length */
    struct plumb_tensor reward;  /* (offset[R]) out, f32; absent = not wanted */
    struct plumb_tensor shaped;  /* (R) out, f32; absent = not wanted */
};
/* Values: golden/losses/advantages (token_reward_kl, ppo_trl). Fails: PLUMB_EINVAL naming the
 * argument. */
int plumb_reward_shape(const struct plumb_device *dev, const struct plumb_reward_shape *a);
void plumb_reward_shape_ref(const struct plumb_reward_shape *a, enum plumb_dtype round);

PLUMB_END_C
