/* Tokens of a batch chosen by rank, as weights or marks for plumb_policy: the most uncertain ones
 * (TRL's top_entropy_quantile, arXiv:2506.01939), those with the largest covariance of advantage
 * and log-prob (KL-Cov, Clip-Cov: arXiv:2505.22617). "Batch" is whatever the caller hands over.
 * Values of top_entropy_quantile, entropy_bonus and kl_cov are in golden/losses/policy. */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_C

/* Counted tokens whose key is at least the quantile of all keys (linear between neighbours), or the
 * `share` with the largest keys: max(1, floor(share * counted)) of them, ties in the order of their
 * indices, keys of -infinity never. */
struct plumb_select {
    size_t struct_bytes;
    int64_t M;                   /* tokens, < 2^31 */
    const int32_t *target;       /* (M) -1 = counts nowhere, gets 0; NULL = all count */
    struct plumb_tensor key;     /* (M) in, f32; a NaN that counts makes all results NaN */
    bool top;                    /* by share, not by quantile */
    double quantile;             /* in [0, 1]; TRL: 1 - top_entropy_quantile */
    double share;                /* in [0, 1] */
    bool drop;                   /* selected tokens get 0, all others 1; else the reverse */
    struct plumb_tensor weight;  /* (M) in, f32: multiplied in; absent = 1 */
    struct plumb_tensor out;     /* (M) out, f32; shares no memory with an input */
    struct plumb_tensor count;   /* (1) out, f32: tokens selected (plumb_policy's entropy_count);
                                  * absent = not wanted */
    struct plumb_tensor work;    /* plumb_select_workspace bytes */
};
/* Reads the keys four to seven times. Fails: PLUMB_EINVAL naming the argument. */
int plumb_select(const struct plumb_device *dev, const struct plumb_select *a);
size_t plumb_select_workspace(const struct plumb_device *dev, const struct plumb_select *a);
void plumb_select_ref(const struct plumb_select *a, enum plumb_dtype round);

/* (A - mean A) (log p - mean log p) of each counted token, means over all of them: the key of
 * KL-Cov and, with `random`, of Clip-Cov, which picks at random among the tokens whose covariance
 * lies between low and high and whose ratio is not clipped: their keys are random, those of all
 * others -infinity. */
struct plumb_covariance {
    size_t struct_bytes;
    int64_t M;
    const int32_t *target;       /* (M) -1 = counts nowhere, gets -infinity; NULL = all count */
    struct plumb_tensor logp;    /* (M) in, f32 nats */
    struct plumb_tensor advantage; /* (M) in, f32; plumb_segsum_bwd spreads those of rows */
    bool random;
    double low, high;            /* random: band of the covariance, ends outside (verl: 1, 5) */
    struct plumb_tensor old_logp;/* (M) in, f32 nats: random; absent = no ratio is clipped */
    double ratio_low, ratio_high;/* random: the clip that plumb_policy has */
    uint64_t seed, step;         /* random: key and position of the choice */
    struct plumb_tensor key;     /* (M) out, f32 */
    struct plumb_tensor work;    /* plumb_covariance_workspace bytes */
};
int plumb_covariance(const struct plumb_device *dev, const struct plumb_covariance *a);
size_t plumb_covariance_workspace(const struct plumb_device *dev,
                                  const struct plumb_covariance *a);
void plumb_covariance_ref(const struct plumb_covariance *a, enum plumb_dtype round);

PLUMB_END_C
