/* Counter-based randomness (Philox 4x32-10, Salmon et al., SC 2011): a value is a function of
 * its key alone, so nothing depends on the order of execution. The key is (seed, purpose,
 * sample, position). */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_C

enum plumb_rng_purpose {
    PLUMB_RNG_SHUFFLE = 1, /* order of an epoch's rows: sample = epoch, position = index */
    PLUMB_RNG_INIT = 2,    /* initial weights: sample = parameter, position = element */
    PLUMB_RNG_ROUND = 3,   /* stochastic rounding: sample = step, position = element */
    PLUMB_RNG_SAMPLE = 4,  /* token sampling: sample = sequence, position = token */
    PLUMB_RNG_DATA = 5,    /* generated data sets */
    PLUMB_RNG_TEST = 6,
    PLUMB_RNG_SUBSET = 7, /* choice of pairs or tokens: sample = step, position = index */
    PLUMB_RNG_DROPOUT = 8, /* masks of activations: plumb/dropout.h */
};

struct plumb_rng_key {
    uint64_t seed;
    uint32_t purpose;
    uint64_t sample;
};

/* Four random words of position `position` (the block counter). */
void plumb_rng_block(const struct plumb_rng_key *key, uint64_t position, uint32_t out[4]);
/* Uniform in the open interval (0,1): 52 random bits, never 0 or 1. */
double plumb_rng_uniform(const struct plumb_rng_key *key, uint64_t position);
/* Mean 0, variance 1. */
double plumb_rng_normal(const struct plumb_rng_key *key, uint64_t position);
/* Uniform integer in [0, n), n >= 1, (bias below n / 2^64). */
uint64_t plumb_rng_below(const struct plumb_rng_key *key, uint64_t position, uint64_t n);

PLUMB_END_C
