/* Log-prob sums of sequences of tokens: in f64 and in an order that a sequence's own length fixes,
 * so that its sum depends on its tokens alone and log-ratios of equal policies are exactly 0. Here
 * the order is that of the tokens; kernels/gpu_sequence.h has the device's. */
#pragma once
#include "kernels/scalar.h"

struct plumb_sequences {
    const int32_t *offset;
    const void *logp, *ref_logp, *ref_sum; /* f32 on cpu, f64 on ref; the last two may be NULL */
    const void *token_weight;              /* of logp and ref_logp; NULL = 1 */
};

struct plumb_sequence {
    double logp, ratio; /* sums of logp and of logp - ref, nats */
    int64_t tokens;
};

/* The log-ratio from both sums. A stored sum of the reference was rounded to f32: so is the
 * policy's then, or else equal policies would differ by that rounding. */
PLUMB_HD double plumb_sequence_ratio(double logp, double ref, bool stored)
{
    return (stored ? (double)(float)logp : logp) - ref;
}

static inline struct plumb_sequence plumb_sequence_f32(const struct plumb_sequences *s, int64_t r)
{
    const float *logp = (const float *)s->logp, *ref = (const float *)s->ref_logp;
    const float *sum = (const float *)s->ref_sum, *weight = (const float *)s->token_weight;
    struct plumb_sequence q = { 0, 0, s->offset[r + 1] - s->offset[r] };
    double base = sum ? (double)sum[r] : 0;
    for (int32_t t = s->offset[r]; t < s->offset[r + 1]; t++) {
        const double w = weight ? (double)weight[t] : 1;
        q.logp += w * (double)logp[t];
        if (ref) base += w * (double)ref[t];
    }
    q.ratio = plumb_sequence_ratio(q.logp, base, sum != NULL);
    return q;
}

/* The oracle: every addition is rounded to `round`. */
static inline struct plumb_sequence plumb_sequence_ref(const struct plumb_sequences *s, int64_t r,
                                                       enum plumb_dtype round)
{
    const double *logp = (const double *)s->logp, *ref = (const double *)s->ref_logp;
    const double *sum = (const double *)s->ref_sum, *weight = (const double *)s->token_weight;
    struct plumb_sequence q = { 0, 0, s->offset[r + 1] - s->offset[r] };
    double base = sum ? sum[r] : 0;
    for (int32_t t = s->offset[r]; t < s->offset[r + 1]; t++) {
        const double w = weight ? weight[t] : 1;
        q.logp = plumb_dtype_round(round, q.logp + plumb_dtype_round(round, w * logp[t]));
        if (ref) base = plumb_dtype_round(round, base + plumb_dtype_round(round, w * ref[t]));
    }
    q.ratio = plumb_dtype_round(round, q.logp - base);
    return q;
}
