/* The arithmetic of batch statistics over pairs, in f64 wherever it is called from. */
#pragma once
#include "kernels/philox.h"

/* Whether value x of item i comes before value y of item j: ascending, ties in order, NaN last. */
PLUMB_HD bool plumb_batch_before(double x, int64_t i, double y, int64_t j)
{
    const double a = x == x ? x : (double)INFINITY, b = y == y ? y : (double)INFINITY;
    return a < b || (a == b && i < j);
}

/* What is sorted: x of the policy or of the chosen sides, y of the reference or of the rejected
 * ones. */
PLUMB_HD double plumb_aot_x(bool unpaired, double lw, double ll, double rw)
{
    return lw - (unpaired ? rw : ll);
}
PLUMB_HD double plumb_aot_y(bool unpaired, double ll, double rw, double rl)
{
    return (unpaired ? ll : rw) - rl;
}

/* Running moments: m, s of a batch of B values whose sum and sum of squared distances from the mean
 * are given; the deviation is that of a sample. */
struct plumb_batch_moments {
    double m, s;
};
PLUMB_HD struct plumb_batch_moments plumb_batch_moments_of(double m, double s, double decay,
                                                           int64_t B, double mean, double squares)
{
    const double deviation = B > 1 ? sqrt(squares / (double)(B - 1)) : 0;
    const struct plumb_batch_moments to = { decay * m + (1 - decay) * mean,
                                            decay * s + (1 - decay) * deviation };
    return to;
}
PLUMB_HD double plumb_batch_score(struct plumb_batch_moments to, double x)
{
    return to.s > 0 ? (x - to.m) / to.s : 0;
}

/* Gumbel's trick: the `keep` smallest of these keys are a draw without replacement by weights
 * e^(-score^2 / 2). */
PLUMB_HD double plumb_batch_draw(const struct plumb_rng_key *key, int64_t i, double score)
{
    const double u = ((double)plumb_philox_word(key, (uint64_t)i) + 0.5) / 4294967296.0;
    return score * score / 2 + log(-log(u));
}
PLUMB_HD int64_t plumb_batch_kept(int64_t B, double drop)
{
    return B - (int64_t)(drop * (double)B);
}
