/* Philox 4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3; SC
 * 2011). */
#include <math.h>
#include <plumb/rng.h>

static void rounds(uint32_t c[4], uint32_t k0, uint32_t k1)
{
    for (int r = 0; r < 10; r++) {
        const uint64_t a = (uint64_t)0xD2511F53u * c[0], b = (uint64_t)0xCD9E8D57u * c[2];
        const uint32_t n0 = (uint32_t)(b >> 32) ^ c[1] ^ k0, n2 = (uint32_t)(a >> 32) ^ c[3] ^ k1;
        c[1] = (uint32_t)b;
        c[3] = (uint32_t)a;
        c[0] = n0;
        c[2] = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

void plumb_rng_block(const struct plumb_rng_key *key, uint64_t position, uint32_t out[4])
{
    /* Key and counter hold 192 bits; seed, purpose and sample are mixed into the key, position
     * is the counter. */
    out[0] = (uint32_t)position;
    out[1] = (uint32_t)(position >> 32);
    out[2] = (uint32_t)key->sample;
    out[3] = (uint32_t)(key->sample >> 32) ^ (key->purpose << 24);
    rounds(out, (uint32_t)key->seed, (uint32_t)(key->seed >> 32));
}

static double unit(uint32_t hi, uint32_t lo)
{
    const uint64_t bits = ((uint64_t)hi << 32 | lo) >> 12; /* 52 bits */
    return ((double)bits + 0.5) * 0x1p-52;
}

double plumb_rng_uniform(const struct plumb_rng_key *key, uint64_t position)
{
    uint32_t w[4];
    plumb_rng_block(key, position, w);
    return unit(w[0], w[1]);
}

double plumb_rng_normal(const struct plumb_rng_key *key, uint64_t position)
{
    uint32_t w[4];
    plumb_rng_block(key, position, w);
    return sqrt(-2 * log(unit(w[0], w[1]))) * cos(6.28318530717958647693 * unit(w[2], w[3]));
}

uint64_t plumb_rng_below(const struct plumb_rng_key *key, uint64_t position, uint64_t n)
{
    uint32_t w[4];
    plumb_rng_block(key, position, w);
    /* The high half of a 128-bit product; the bias is below n / 2^64. */
    const uint64_t x = (uint64_t)w[0] << 32 | w[1];
    return (uint64_t)(((unsigned __int128)x * n) >> 64);
}
