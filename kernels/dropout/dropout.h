/* What the oracle, native and device code of dropout share: which numbers decide on an element. */
#pragma once
#include <plumb/dropout.h>

#include "kernels/philox.h"

/* An element stays where its word is at least this. */
static inline uint32_t plumb_dropout_limit(const struct plumb_dropout *a)
{
    return (uint32_t)(a->p * 4294967296.0);
}

/* Seed and step become one key word: the finaliser of MurmurHash3 spreads both. */
static inline uint64_t plumb_dropout_seed(const struct plumb_dropout *a)
{
    uint64_t h = a->seed + 0x9E3779B97F4A7C15u * (uint64_t)a->step;
    h = (h ^ (h >> 33)) * 0xFF51AFD7ED558CCDu;
    h = (h ^ (h >> 33)) * 0xC4CEB9FE1A85EC53u;
    return h ^ (h >> 33);
}

/* Words of columns 4 quad to 4 quad + 3. */
PLUMB_HD void plumb_dropout_words(uint64_t seed, int64_t stream, int32_t sample, int32_t position,
                                  int64_t quad, uint32_t word[4])
{
    struct plumb_rng_key key;
    key.seed = seed;
    key.purpose = PLUMB_RNG_DROPOUT;
    key.sample = (uint64_t)stream << 32 | (uint32_t)sample;
    plumb_philox_words(&key, (uint64_t)(uint32_t)position << 32 | (uint32_t)quad, word);
}
