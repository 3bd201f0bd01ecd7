/* The arithmetic of token weights, in f64 wherever it is called from. */
#pragma once
#include <plumb/token_weight.h>

#include "kernels/philox.h"

PLUMB_HD double plumb_turn_weight(double gamma, int32_t turn, int32_t turns)
{
    const double left = (double)(turns - turn);
    if (gamma == 1) return left / (double)turns;
    return pow(gamma, (double)turn) * (1 - pow(gamma, left)) / (1 - pow(gamma, (double)turns));
}

/* Random word of token k of sequence s. */
PLUMB_HD uint32_t plumb_token_word(uint64_t seed, uint64_t step, int64_t s, int64_t k)
{
    const struct plumb_rng_key key = { seed, PLUMB_RNG_SUBSET, step };
    return plumb_philox_word(&key, (uint64_t)s << 32 | (uint64_t)k);
}

/* Of a pair whose sides have these mean log-probs beside what is sampled; a number for all finite
 * ones. */
PLUMB_HD double plumb_wpo_weight(double w, double l)
{
    const double x = w + l;
    return exp(x > 700 ? 700 : x);
}

/* Selection sampling: whether the next token is taken when `want` of the `left` tokens from it on
 * are still to be. */
PLUMB_HD bool plumb_token_taken(uint32_t word, int64_t left, int64_t want)
{
    return (int64_t)((uint64_t)word * (uint64_t)left >> 32) < want;
}
