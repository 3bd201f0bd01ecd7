/* Block formats: blocks are packed here number by number, as the definition of each type places
 * their bits, and must decode to scale * code - minimum. */
#include <plumb/quant.h>

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "kernels/op.h"
#include "kernels/quant/quant_shell.h"

PLUMB_CPU_DECLARE(plumb_dequantize_cpu, plumb_dequantize);

static uint32_t state = 1;

static int below(int n)
{
    state = state * 1664525u + 1013904223u;
    return (int)((state >> 8) % (uint32_t)n);
}

/* A positive or negative f16 with all 11 bits in use, and what it means. */
static double put_half(unsigned char *p, bool positive)
{
    const int m = below(1024), e = below(12) - 6, sign = positive ? 0 : below(2);
    const uint16_t h = (uint16_t)(sign << 15 | (e + 15) << 10 | m);
    memcpy(p, &h, 2);
    return (sign ? -1 : 1) * ldexp(1024 + m, e - 10);
}

/* Bits [at, at + bits) of byte p, which were zero. */
static void put_bits(unsigned char *p, int at, int bits, int value)
{
    *p = (unsigned char)(*p | (value & ((1 << bits) - 1)) << at);
}

/* Formats of 32 numbers. */
static void pack_small(enum plumb_quant t, unsigned char *b, double *want)
{
    const bool least = t == PLUMB_Q4_1 || t == PLUMB_Q5_1,
               five = t == PLUMB_Q5_0 || t == PLUMB_Q5_1;
    const double d = put_half(b, false), m = least ? put_half(b + 2, false) : 0;
    unsigned char *fifth = b + (least ? 4 : 2), *low = fifth + (five ? 4 : 0);
    for (int i = 0; i < 32; i++) {
        const int code = below(t == PLUMB_Q8_0 ? 256 : five ? 32 : 16);
        if (t == PLUMB_Q8_0) {
            low[i] = (unsigned char)code;
            want[i] = d * (code < 128 ? code : code - 256);
            continue;
        }
        put_bits(low + i % 16, 4 * (i / 16), 4, code);
        if (five) put_bits(fifth + i / 8, i % 8, 1, code >> 4);
        want[i] = (double)(float)(d * (code - (least ? 0 : five ? 16 : 8)) + m);
    }
}

/* Number i stands in half i / 128, quarter i % 128 / 32, place i % 32. */
static void pack_2_or_3(enum plumb_quant t, unsigned char *b, double *want)
{
    const bool three = t == PLUMB_Q3_K;
    const double d = put_half(b + (three ? 108 : 80), false);
    const double m = three ? 0 : put_half(b + 82, true);
    int scale[16], least[16];
    for (int g = 0; g < 16; g++) {
        scale[g] = below(three ? 64 : 16), least[g] = below(16);
        if (three) {
            put_bits(b + 96 + g % 8, g / 8 * 4, 4, scale[g]);
            put_bits(b + 104 + g % 4, g / 4 * 2, 2, scale[g] >> 4);
        } else {
            b[g] = (unsigned char)(scale[g] | least[g] << 4);
        }
    }
    for (int i = 0; i < 256; i++) {
        const int code = below(three ? 8 : 4), g = i / 16, half = i / 128, quarter = i % 128 / 32;
        put_bits(b + (three ? 32 : 16) + 32 * half + i % 32, 2 * quarter, 2, code);
        if (three) put_bits(b + i % 32, 4 * half + quarter, 1, code >> 2);
        want[i] = three ? d * (scale[g] - 32) * (code - 4)
                        : (double)(float)(d * scale[g] * code - m * least[g]);
    }
}

static void pack_4_or_5(enum plumb_quant t, unsigned char *b, double *want)
{
    const bool five = t == PLUMB_Q5_K;
    const double d = put_half(b, false), m = put_half(b + 2, true);
    int scale[8], least[8];
    unsigned char *s = b + 4, *low = b + (five ? 48 : 16);
    for (int g = 0; g < 8; g++) {
        scale[g] = below(64), least[g] = below(64);
        if (g < 4) {
            put_bits(s + g, 0, 6, scale[g]);
            put_bits(s + 4 + g, 0, 6, least[g]);
        } else {
            put_bits(s + 4 + g, 0, 4, scale[g]);
            put_bits(s + 4 + g, 4, 4, least[g]);
            put_bits(s + g - 4, 6, 2, scale[g] >> 4);
            put_bits(s + g, 6, 2, least[g] >> 4);
        }
    }
    for (int i = 0; i < 256; i++) {
        const int code = below(five ? 32 : 16), g = i / 32;
        put_bits(low + 32 * (i / 64) + i % 32, i % 64 / 32 * 4, 4, code);
        if (five) put_bits(b + 16 + i % 32, g, 1, code >> 4);
        want[i] = (double)(float)(d * scale[g] * code - m * least[g]);
    }
}

static void pack_6(unsigned char *b, double *want)
{
    const double d = put_half(b + 208, false);
    int scale[16];
    for (int g = 0; g < 16; g++) {
        scale[g] = below(256) - 128;
        b[192 + g] = (unsigned char)scale[g];
    }
    for (int i = 0; i < 256; i++) {
        const int code = below(64), half = i / 128, quarter = i % 128 / 32;
        put_bits(b + 64 * half + 32 * (quarter % 2) + i % 32, quarter / 2 * 4, 4, code);
        put_bits(b + 128 + 32 * half + i % 32, 2 * quarter, 2, code >> 4);
        want[i] = d * scale[i / 16] * (code - 32);
    }
}

static void pack(enum plumb_quant t, unsigned char *b, double *want)
{
    memset(b, 0, (size_t)plumb_quant_format(t)->bytes);
    if (t == PLUMB_Q6_K)
        pack_6(b, want);
    else if (t == PLUMB_Q4_K || t == PLUMB_Q5_K)
        pack_4_or_5(t, b, want);
    else if (t == PLUMB_Q2_K || t == PLUMB_Q3_K)
        pack_2_or_3(t, b, want);
    else
        pack_small(t, b, want);
}

static const enum plumb_quant types[] = { PLUMB_Q4_0, PLUMB_Q4_1, PLUMB_Q5_0, PLUMB_Q5_1,
                                          PLUMB_Q8_0, PLUMB_Q2_K, PLUMB_Q3_K, PLUMB_Q4_K,
                                          PLUMB_Q5_K, PLUMB_Q6_K };
enum { TYPES = sizeof types / sizeof *types, BLOCKS = 50 };

static void expect_numbers(enum plumb_quant t, const double *want, const float *got, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        cr_assert_eq((double)got[i], want[i], "%s: number %d of block %d is %.9g, not %.9g",
                     plumb_quant_format(t)->name, (int)(i % plumb_quant_format(t)->numbers),
                     (int)(i / plumb_quant_format(t)->numbers), (double)got[i], want[i]);
}

Test(quant, every_type_decodes_as_its_bits_are_defined)
{
    static unsigned char bytes[BLOCKS * 210 + 1];
    static double want[BLOCKS * 256];
    static float got[BLOCKS * 256];
    for (int k = 0; k < TYPES; k++) {
        const struct plumb_quant_format *f = plumb_quant_format(types[k]);
        const struct plumb_dequantize a = { f, bytes + 1, BLOCKS, got };
        const int64_t n = BLOCKS * f->numbers;
        cr_assert(f && f->type == types[k] && f->numbers <= PLUMB_QUANT_MOST);
        for (int i = 0; i < BLOCKS; i++)
            pack(types[k], bytes + 1 + i * f->bytes, want + i * f->numbers);
        plumb_dequantize(types[k], bytes + 1, n, got);
        expect_numbers(types[k], want, got, n);
        memset(got, 0, sizeof got);
        plumb_dequantize_cpu_v2(&a);
        expect_numbers(types[k], want, got, n);
        if (plumb_cpu_isa() >= PLUMB_ISA_AVX2) plumb_dequantize_cpu_v3(&a);
        expect_numbers(types[k], want, got, n);
    }
    cr_expect(!plumb_quant_format(0) && !plumb_quant_format(1) && !plumb_quant_format(30));
    cr_expect(!plumb_quant_format(-1) && !plumb_quant_format(INT64_MAX));
}

/* Blocks that a reader can decode in the head: scale 0.5 (f16 0x3800), minimum 2 (0x4000), every
 * byte of codes 0x21, small scales 3. */
Test(quant, blocks_worked_out_by_hand)
{
    unsigned char b[210];
    float y[256];
    memset(b, 0x21, sizeof b);
    memcpy(b, "\0\x38", 2);
    plumb_dequantize(PLUMB_Q4_0, b, 32, y);
    cr_expect(y[0] == 0.5f * (1 - 8) && y[31] == 0.5f * (2 - 8));
    plumb_dequantize(PLUMB_Q5_0, b, 32, y); /* fifth bits 0x21212121: numbers 0, 5, 8, 13, ... */
    cr_expect(y[0] == 0.5f * (17 - 16) && y[1] == 0.5f * (1 - 16) && y[29] == 0.5f * (18 - 16));
    plumb_dequantize(PLUMB_Q8_0, b, 32, y);
    cr_expect(y[0] == 0.5f * 33 && y[31] == 0.5f * 33);
    memcpy(b + 2, "\0\x40", 2);
    plumb_dequantize(PLUMB_Q4_1, b, 32, y);
    cr_expect(y[0] == 0.5f * 1 + 2 && y[31] == 0.5f * 2 + 2);
    plumb_dequantize(PLUMB_Q5_1, b, 32, y);
    cr_expect(y[0] == 0.5f * 17 + 2 && y[1] == 0.5f * 1 + 2 && y[29] == 0.5f * 18 + 2);
    memset(b + 4, 3, 8), memset(b + 12, 0x33, 4); /* all scales and minima 3 */
    plumb_dequantize(PLUMB_Q4_K, b, 256, y);
    cr_expect(y[0] == 0.5f * 3 * 1 - 2 * 3 && y[32] == 0.5f * 3 * 2 - 2 * 3 && y[255] == y[32]);
    plumb_dequantize(PLUMB_Q5_K, b, 256, y); /* fifth bits of groups 0 and 5 */
    cr_expect(y[0] == 0.5f * 3 * 17 - 6 && y[64] == 0.5f * 3 * 1 - 6 &&
              y[160] == 0.5f * 3 * 18 - 6);
    memset(b, 0x33, 16), memset(b + 16, 0xE4, 64), memcpy(b + 80, "\0\x38\0\x40", 4);
    plumb_dequantize(PLUMB_Q2_K, b, 256, y); /* codes 0, 1, 2, 3 by quarter */
    cr_expect(y[0] == -6 && y[32] == 0.5f * 3 - 6 && y[127] == 0.5f * 9 - 6 && y[128] == -6);
    memset(b, 0x0F, 32), memset(b + 32, 0xE4, 64), memset(b + 96, 0x11, 8),
        memset(b + 104, 0xAA, 4);
    memcpy(b + 108, "\0\x38",
           2); /* scales 1 + 2 * 16 - 32 = 1; the first half has its third bits */
    plumb_dequantize(PLUMB_Q3_K, b, 256, y);
    cr_expect(y[0] == 0 && y[96] == 0.5f * 3 && y[128] == 0.5f * -4 && y[255] == 0.5f * -1);
    memset(b, 0x21, 128), memset(b + 128, 0xE4, 64), memset(b + 192, 0xFF, 16);
    memcpy(b + 208, "\0\x38", 2); /* scales -1; codes 1, 1 + 16, 2 + 32, 2 + 48 */
    plumb_dequantize(PLUMB_Q6_K, b, 256, y);
    cr_expect(y[0] == -0.5f * -31 && y[32] == -0.5f * -15 && y[64] == -0.5f * 2 &&
              y[96] == -0.5f * 18);
}

Test(quant, q8_0_comes_back_within_half_a_scale)
{
    enum { N = 32 * 64 };
    static float x[N], y[N];
    static unsigned char b[N / 32 * 34];
    for (int i = 0; i < N; i++)
        x[i] = ldexpf((float)(below(4001) - 2000), below(4) - i / 32 % 8);
    memset(x + 320, 0, 32 * sizeof *x);
    plumb_quantize_q8_0(x, N, b);
    plumb_dequantize(PLUMB_Q8_0, b, N, y);
    for (int i = 0; i < N; i += 32) {
        float most = 0;
        for (int k = 0; k < 32; k++)
            most = fmaxf(most, fabsf(x[i + k]));
        /* half a step, and 127 times the rounding of the scale to 11 bits */
        const float bound = most / 127 * (0.5f + 127 * 0x1p-11f) * (1 + 0x1p-11f);
        for (int k = 0; k < 32; k++)
            cr_expect_leq(fabsf(y[i + k] - x[i + k]), bound, "block %d", i / 32);
    }
    for (int k = 0; k < 32; k++)
        cr_expect(y[320 + k] == 0 && b[10 * 34] == 0);
}

/* Worked by hand: greatest 254, scale 2 (f16 0x4000); 1 / 2 = 0.5 rounds away from zero. */
Test(quant, q8_0_rounds_halves_away_from_zero)
{
    float x[32] = { 254, -254, 1, -1, 0.9f, 3, -3, 5 };
    static const int8_t want[8] = { 127, -127, 1, -1, 0, 2, -2, 3 };
    unsigned char b[34];
    plumb_quantize_q8_0(x, 32, b);
    cr_expect(b[0] == 0 && b[1] == 0x40);
    cr_expect_eq(memcmp(b + 2, want, 8), 0);
    for (int i = 0; i < 32; i++)
        x[i] = 0x1p-140f * (float)i;
    plumb_quantize_q8_0(x, 32, b);
    for (int i = 0; i < 34; i++)
        cr_expect_eq(b[i], 0);
}
