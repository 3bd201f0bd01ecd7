/* What the native and the device code of sampling share: how a logit is adjusted, the order of
 * logits as integers, which of them are kept, and where a row's scratch lies. */
#pragma once
#include <plumb/sample.h>
#include <string.h>

#include "kernels/philox.h"
#include "kernels/scalar.h"

/* A logit of a token that has been seen; the rounding is the contract's. */
PLUMB_HD float plumb_sample_penalise(float z, double penalty)
{
    return plumb_saturate_f32(z > 0 ? (double)z / penalty : (double)z * penalty);
}

PLUMB_HD float plumb_sample_add(float z, float bias)
{
    return plumb_saturate_f32((double)z + (double)bias);
}

/* Larger logits, larger integers; both zeros are one. */
PLUMB_HD uint32_t plumb_sample_order(float z)
{
    const float x = z == 0 ? 0.0f : z;
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u >> 31 ? ~u : u | 0x80000000u;
}

PLUMB_HD float plumb_sample_logit(uint32_t order)
{
    const uint32_t u = order >> 31 ? order & 0x7fffffffu : ~order;
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* Tokens that are left: a prefix of the order by falling logit, then by id. */
struct plumb_sample_kept {
    float least;  /* larger logits are kept, and equal ones */
    int32_t last; /* up to this id */
};

PLUMB_HD bool plumb_sample_keeps(const struct plumb_sample_kept *k, float z, int64_t id)
{
    return z > k->least || (z == k->least && id <= k->last);
}

/* What min-p leaves of a prefix: logits of at least largest + ln(min_p). */
PLUMB_HD void plumb_sample_min_p(struct plumb_sample_kept *k, float largest, double log_min_p)
{
    const double bound = (double)largest + log_min_p;
    float least = (float)bound;
    if (!(bound >= -(double)FLT_MAX)) return; /* beyond all numbers */
    if ((double)least < bound)                /* the next larger f32 */
        least = plumb_sample_logit(plumb_sample_order(least) + 1);
    if (least <= k->least) return;
    k->least = least;
    k->last = INT32_MAX;
}

/* The search for a prefix settles its smallest logit digit by digit, from the highest. */
enum { PLUMB_SAMPLE_STAGES = 3, PLUMB_SAMPLE_BINS = 2048 };

PLUMB_HD int plumb_sample_shift(int stage) { return stage == 0 ? 21 : stage == 1 ? 10 : 0; }

PLUMB_HD uint32_t plumb_sample_digit(uint32_t order, int stage)
{
    return order >> plumb_sample_shift(stage) & (stage == 2 ? 1023u : 2047u);
}

/* Whether the digits before `stage` are those of `prefix`. */
PLUMB_HD bool plumb_sample_match(uint32_t order, uint32_t prefix, int stage)
{
    const uint32_t known = stage == 0 ? 0 : stage == 1 ? ~0u << 21 : ~0u << 10;
    return ((order ^ prefix) & known) == 0;
}

/* The row's random number as 64 bits of which the last is set: (bits) / 2^64 is
 * plumb_rng_uniform. */
PLUMB_HD uint64_t plumb_sample_bits(const struct plumb_sample *a, int64_t m)
{
    const struct plumb_rng_key key = { a->seed[m], PLUMB_RNG_SAMPLE, a->sequence[m] };
    uint32_t word[4];
    plumb_philox_words(&key, a->position[m], word);
    const uint64_t bits = ((uint64_t)word[0] << 32 | word[1]) >> 12;
    return bits << 12 | 1u << 11;
}

/* Columns [v, v + n) of a row that lie in one piece: where, and in *n how many. */
PLUMB_HD const float *plumb_sample_piece(const struct plumb_logits *l, int64_t m, int64_t v,
                                         int64_t *n)
{
    const int64_t from = l->slice < l->vocab ? v / l->slice * l->slice : 0;
    const int64_t width = l->slice < l->vocab - from ? l->slice : l->vocab - from;
    *n = from + width - v;
    return l->z + from * l->rows + m * (l->stride ? l->stride : width) + (v - from);
}
