/* Log-prob sums of sequences of tokens: in f64 and index order, so that a sequence's sum depends on
 * its tokens alone and log-ratios of equal policies are exactly 0. */
#pragma once
#include <plumb/base.h>

struct plumb_sequences {
    const int32_t *offset;
    const void *logp, *ref_logp, *ref_sum; /* f32 on cpu, f64 on ref; the last two may be NULL */
};

struct plumb_sequence {
    double logp, ratio; /* sums of logp and of logp - ref, nats */
    int64_t tokens;
};

static inline struct plumb_sequence plumb_sequence_f32(const struct plumb_sequences *s, int64_t r)
{
    const float *logp = s->logp, *ref = s->ref_logp, *sum = s->ref_sum;
    struct plumb_sequence q = { .tokens = s->offset[r + 1] - s->offset[r] };
    double base = sum ? (double)sum[r] : 0;
    for (int32_t t = s->offset[r]; t < s->offset[r + 1]; t++) {
        q.logp += (double)logp[t];
        if (ref) base += (double)ref[t];
    }
    /* The reference's sum was rounded to f32 when it was stored: so is the policy's, or else equal
     * policies would differ by that rounding. */
    q.ratio = (sum ? (double)(float)q.logp : q.logp) - base;
    return q;
}

/* The oracle: every addition is rounded to `round`. */
static inline struct plumb_sequence plumb_sequence_ref(const struct plumb_sequences *s, int64_t r,
                                                       enum plumb_dtype round)
{
    const double *logp = s->logp, *ref = s->ref_logp, *sum = s->ref_sum;
    struct plumb_sequence q = { .tokens = s->offset[r + 1] - s->offset[r] };
    double base = sum ? sum[r] : 0;
    for (int32_t t = s->offset[r]; t < s->offset[r + 1]; t++) {
        q.logp = plumb_dtype_round(round, q.logp + logp[t]);
        if (ref) base = plumb_dtype_round(round, base + ref[t]);
    }
    q.ratio = plumb_dtype_round(round, q.logp - base);
    return q;
}
