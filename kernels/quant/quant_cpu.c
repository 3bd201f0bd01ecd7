/* Native decoding of quantised blocks. Compiled once per instruction set.
 *
 * A product of scale, sub-scale and code has at most 24 significant bits, so it is exact in f32 and
 * a result is rounded once, where a minimum is taken off: fused or not, the bits are the same. */
#include "kernels/op.h"
#include "kernels/quant/quant_shell.h"
#include "kernels/simd.h"

static inline float scale_at(const unsigned char *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return plumb_f16_to_f32(h);
}

/* Scale; 16 bytes: the low halves are the first 16 codes, the high halves the others. */
static void decode_q4_0(const unsigned char *b, float *y)
{
    const float d = scale_at(b);
#pragma omp simd
    for (int i = 0; i < 16; i++) {
        y[i] = d * (float)((b[2 + i] & 15) - 8);
        y[i + 16] = d * (float)((b[2 + i] >> 4) - 8);
    }
}

/* Scale, least number; codes as above. */
static void decode_q4_1(const unsigned char *b, float *y)
{
    const float d = scale_at(b), m = scale_at(b + 2);
#pragma omp simd
    for (int i = 0; i < 16; i++) {
        y[i] = d * (float)(b[4 + i] & 15) + m;
        y[i + 16] = d * (float)(b[4 + i] >> 4) + m;
    }
}

/* Code i of 32 with five bits, the fifth from a word of 32. */
static inline int five_bits(const unsigned char *low, uint32_t high, int i)
{
    const int nibble = i < 16 ? low[i] & 15 : low[i - 16] >> 4;
    return nibble | (int)(high >> i & 1) << 4;
}

static void decode_q5_0(const unsigned char *b, float *y)
{
    const float d = scale_at(b);
    uint32_t high;
    memcpy(&high, b + 2, sizeof high);
#pragma omp simd
    for (int i = 0; i < 16; i++) {
        y[i] = d * (float)(five_bits(b + 6, high, i) - 16);
        y[i + 16] = d * (float)(five_bits(b + 6, high, i + 16) - 16);
    }
}

static void decode_q5_1(const unsigned char *b, float *y)
{
    const float d = scale_at(b), m = scale_at(b + 2);
    uint32_t high;
    memcpy(&high, b + 4, sizeof high);
#pragma omp simd
    for (int i = 0; i < 16; i++) {
        y[i] = d * (float)five_bits(b + 8, high, i) + m;
        y[i + 16] = d * (float)five_bits(b + 8, high, i + 16) + m;
    }
}

static void decode_q8_0(const unsigned char *b, float *y)
{
    const float d = scale_at(b);
#pragma omp simd
    for (int i = 0; i < 32; i++)
        y[i] = d * (float)(int8_t)b[2 + i];
}

/* The K formats: 256 numbers in groups of 16 or 32 with small scales of their own. Two bits of four
 * groups of 32 share 32 bytes. */

/* 16 bytes with scale (low half) and minimum of a group of 16; 64 bytes of codes; two factors. */
static void decode_q2_k(const unsigned char *b, float *y)
{
    const float d = scale_at(b + 80), least = scale_at(b + 82);
    const unsigned char *q = b + 16;
    for (int g = 0; g < 16; g++) { /* half g / 8, pair of bits g / 2 % 4, byte 16 * (g % 2) on */
        const unsigned char *p = q + 32 * (g / 8) + 16 * (g % 2);
        const float dl = d * (float)(b[g] & 15), ml = least * (float)(b[g] >> 4);
        const int shift = 2 * (g / 2 % 4);
#pragma omp simd
        for (int i = 0; i < 16; i++)
            y[16 * g + i] = dl * (float)(p[i] >> shift & 3) - ml;
    }
}

/* 32 bytes with the third bit of each code, 64 bytes with two, 12 bytes with 16 scales of six bits,
 * a factor. A third bit that is not set takes 4 off. */
static void decode_q3_k(const unsigned char *b, float *y)
{
    const float d = scale_at(b + 108);
    const unsigned char *q = b + 32, *s = b + 96;
    for (int g = 0; g < 16; g++) {
        const int low = g < 8 ? s[g] & 15 : s[g - 8] >> 4, high = s[8 + g % 4] >> 2 * (g / 4) & 3;
        const float dl = d * (float)((low | high << 4) - 32);
        const unsigned char *p = q + 32 * (g / 8) + 16 * (g % 2), *third = b + 16 * (g % 2);
        const int shift = 2 * (g / 2 % 4);
#pragma omp simd
        for (int i = 0; i < 16; i++)
            y[16 * g + i] = dl * (float)((p[i] >> shift & 3) - 4 + (third[i] >> g / 2 & 1) * 4);
    }
}

/* Scale and minimum of group j of eight, six bits each, in 12 bytes. */
static inline void six_bits(const unsigned char *s, int j, float *scale, float *least)
{
    *scale = (float)(j < 4 ? s[j] & 63 : (s[j + 4] & 15) | s[j - 4] >> 6 << 4);
    *least = (float)(j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | s[j] >> 6 << 4);
}

/* Two factors, 12 bytes of scales, 128 bytes: each 32 hold two groups of 32, low and high halves
 * of bytes. */
static void decode_q4_k(const unsigned char *b, float *y)
{
    const float d = scale_at(b), least = scale_at(b + 2);
    for (int j = 0; j < 8; j++) {
        const unsigned char *q = b + 16 + 32 * (j / 2);
        float scale, m;
        six_bits(b + 4, j, &scale, &m);
        const float dl = d * scale, ml = least * m;
        const int shift = 4 * (j % 2);
#pragma omp simd
        for (int i = 0; i < 32; i++)
            y[32 * j + i] = dl * (float)(q[i] >> shift & 15) - ml;
    }
}

/* The same with a fifth bit: bit j of 32 bytes belongs to group j. */
static void decode_q5_k(const unsigned char *b, float *y)
{
    const float d = scale_at(b), least = scale_at(b + 2);
    for (int j = 0; j < 8; j++) {
        const unsigned char *q = b + 48 + 32 * (j / 2), *fifth = b + 16;
        float scale, m;
        six_bits(b + 4, j, &scale, &m);
        const float dl = d * scale, ml = least * m;
        const int shift = 4 * (j % 2);
#pragma omp simd
        for (int i = 0; i < 32; i++)
            y[32 * j + i] = dl * (float)((q[i] >> shift & 15) | (fifth[i] >> j & 1) << 4) - ml;
    }
}

/* 128 bytes with four bits of each code, 64 with two, 16 signed scales of 16 numbers, a factor. */
static void decode_q6_k(const unsigned char *b, float *y)
{
    const float d = scale_at(b + 208);
    for (int j = 0; j < 8; j++) { /* groups of 32: half j / 4, quarter j % 4 */
        const unsigned char *low = b + 64 * (j / 4) + 32 * (j % 2), *high = b + 128 + 32 * (j / 4);
        const float dl[2] = { d * (float)(int8_t)b[192 + 2 * j],
                              d * (float)(int8_t)b[193 + 2 * j] };
        const int low_shift = j % 4 / 2 * 4, high_shift = 2 * (j % 4);
#pragma omp simd
        for (int i = 0; i < 32; i++)
            y[32 * j + i] = dl[i / 16] * (float)(((low[i] >> low_shift & 15) |
                                                  (high[i] >> high_shift & 3) << 4) -
                                                 32);
    }
}

int PLUMB_CPU_FN(plumb_dequantize_cpu)(const struct plumb_dequantize *a)
{
    void (*decode)(const unsigned char *, float *) = NULL;
    switch (a->format->type) {
    case PLUMB_Q4_0: decode = decode_q4_0; break;
    case PLUMB_Q4_1: decode = decode_q4_1; break;
    case PLUMB_Q5_0: decode = decode_q5_0; break;
    case PLUMB_Q5_1: decode = decode_q5_1; break;
    case PLUMB_Q8_0: decode = decode_q8_0; break;
    case PLUMB_Q2_K: decode = decode_q2_k; break;
    case PLUMB_Q3_K: decode = decode_q3_k; break;
    case PLUMB_Q4_K: decode = decode_q4_k; break;
    case PLUMB_Q5_K: decode = decode_q5_k; break;
    case PLUMB_Q6_K: decode = decode_q6_k; break;
    case PLUMB_QUANT_NONE: break;
    }
    PLUMB_ASSERT(decode);
    for (int64_t i = 0; i < a->count; i++)
        decode(a->blocks + i * a->format->bytes, a->out + i * a->format->numbers);
    return PLUMB_OK;
}
