/* The table of block formats, the choice of native code, and quantising. */
#include <math.h>
#include <plumb/quant.h>

#include "kernels/op.h"
#include "kernels/quant/quant_shell.h"
#include "kernels/simd.h"

PLUMB_CPU_DECLARE(plumb_dequantize_cpu, plumb_dequantize);

static const struct plumb_quant_format formats[] = {
    { "Q4_0", PLUMB_Q4_0, 32, 18 },   { "Q4_1", PLUMB_Q4_1, 32, 20 },
    { "Q5_0", PLUMB_Q5_0, 32, 22 },   { "Q5_1", PLUMB_Q5_1, 32, 24 },
    { "Q8_0", PLUMB_Q8_0, 32, 34 },   { "Q2_K", PLUMB_Q2_K, 256, 84 },
    { "Q3_K", PLUMB_Q3_K, 256, 110 }, { "Q4_K", PLUMB_Q4_K, 256, 144 },
    { "Q5_K", PLUMB_Q5_K, 256, 176 }, { "Q6_K", PLUMB_Q6_K, 256, 210 },
};

const struct plumb_quant_format *plumb_quant_format(int64_t type)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if ((int64_t)formats[i].type == type) return &formats[i];
    return NULL;
}

void plumb_dequantize(enum plumb_quant type, const void *blocks, int64_t n, float *out)
{
    const struct plumb_quant_format *f = plumb_quant_format(type);
    PLUMB_ASSERT(f && n >= 0 && n % f->numbers == 0);
    const struct plumb_dequantize a = { f, blocks, n / f->numbers, out };
    (void)PLUMB_CPU_CALL(plumb_dequantize_cpu, &a);
}

void plumb_quantize_q8_0(const float *x, int64_t n, void *blocks)
{
    enum { BLOCK = 32, BYTES = 34 };
    unsigned char *b = blocks;
    PLUMB_ASSERT(n >= 0 && n % BLOCK == 0);
    for (; n > 0; n -= BLOCK, x += BLOCK, b += BYTES) {
        float most = 0;
        for (int i = 0; i < BLOCK; i++)
            most = fmaxf(most, fabsf(x[i]));
        const float d = most / 127.0f;
        const float inverse = d >= 0x1p-126f ? 1.0f / d : 0.0f; /* else 1 / d overflows */
        const uint16_t scale = plumb_f32_to_f16(d);
        memcpy(b, &scale, sizeof scale);
        for (int i = 0; i < BLOCK; i++)
            b[2 + i] = (unsigned char)(int8_t)roundf(x[i] * inverse);
    }
}
