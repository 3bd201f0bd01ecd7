/* Chooses the next token of each row from its logits, by the distribution that is left after, in
 * this order: repetition penalty (arXiv:1909.05858 4.1: z > 0 is divided by it, z <= 0 multiplied,
 * for every token seen), bias, top-k, top-p (arXiv:1904.09751) of what is left, min-p
 * (arXiv:2407.01082). Thresholds are exact: of equal logits the smaller id stands first, and top-k
 * keeps exactly k. z is divided by the temperature already. Penalty and bias each round to f32, on
 * every device, so that all of them see the same ties. */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_C

/* Rows of logits as the head holds them: columns in slices of `slice` (the last may be narrower),
 * slices one after the other; row r of a slice begins `stride` floats after row r - 1 (0 = as many
 * as the slice has columns), and slice k at z + k * slice * rows where stride is 0. With slice =
 * vocab this is a matrix. A stride needs slice = vocab. f32 on every device, ref too. */
struct plumb_logits {
    const float *z;
    int64_t rows, vocab, slice, stride;
};

struct plumb_sample {
    size_t struct_bytes;
    struct plumb_logits logits;   /* M = logits.rows; not changed */
    bool greedy;                  /* the largest after penalty and bias; the rest is not used */
    int64_t top_k;                /* 0 = all */
    double top_p, min_p;          /* in (0,1], 1 = all; in [0,1], 0 = all */
    double repetition_penalty;    /* > 0, 1 = none */
    const int32_t *seen_offset;   /* (M+1) row m has seen seen[seen_offset[m] .. seen_offset[m+1]),
                                   * any order, repeats count once; NULL = no penalty */
    const int32_t *seen;
    int64_t biases;
    const int32_t *bias_token;    /* (biases) in [0, vocab), each once */
    struct plumb_tensor bias;     /* (biases) f32, in units of z; -inf forbids a token */
    const uint64_t *seed, *sequence, *position; /* (M) each: the key of the row's random number
                                   * (plumb/rng.h, PLUMB_RNG_SAMPLE): nothing depends on the batch;
                                   * not read where greedy */
    int32_t *token;               /* (M) out; -1 where a logit is NaN or +inf, or all are -inf */
    struct plumb_tensor logp;     /* (M) out f32: of the token under the distribution it was drawn
                                   * from: 0 where greedy, NaN where there is none; absent = not
                                   * wanted */
    struct plumb_tensor work;     /* plumb_sample_workspace bytes */
};

/* Cost a few passes over the logits; one and a half where nothing but min-p or a small top-k is
 * asked for. The token is the first, in order of ids, at which the summed probability exceeds the
 * row's uniform number.
 * Fails: PLUMB_EINVAL naming the argument; on cuda, where nobody can look, tokens out of range in
 * seen and bias_token are passed over. */
int plumb_sample(const struct plumb_device *dev, const struct plumb_sample *a);
/* Scratch for the sizes and options set in `a`; of pointers only whether seen_offset is there. */
size_t plumb_sample_workspace(const struct plumb_device *dev, const struct plumb_sample *a);
void plumb_sample_ref(const struct plumb_sample *a, enum plumb_dtype round);

PLUMB_END_C
