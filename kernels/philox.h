/* Philox 4x32-10 as in plumb/rng.h, inline so that loops over many elements vectorise and kernels
 * can call it. */
#pragma once
#include <plumb/rng.h>

#include "kernels/scalar.h"

/* plumb_rng_block at `position`. */
PLUMB_HD void plumb_philox_words(const struct plumb_rng_key *key, uint64_t position,
                                 uint32_t word[4])
{
    uint32_t c0 = (uint32_t)position, c1 = (uint32_t)(position >> 32);
    uint32_t c2 = (uint32_t)key->sample, c3 = (uint32_t)(key->sample >> 32) ^ (key->purpose << 24);
    uint32_t k0 = (uint32_t)key->seed, k1 = (uint32_t)(key->seed >> 32);
    for (int r = 0; r < 10; r++) {
        const uint64_t a = (uint64_t)0xD2511F53u * c0, b = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)b;
        c3 = (uint32_t)a;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    word[0] = c0;
    word[1] = c1;
    word[2] = c2;
    word[3] = c3;
}

/* Word 0 alone. */
PLUMB_HD uint32_t plumb_philox_word(const struct plumb_rng_key *key, uint64_t position)
{
    uint32_t word[4];
    plumb_philox_words(key, position, word);
    return word[0];
}
