/* Quantised weights in the block formats of GGUF files: so many numbers share scales. To f32 and,
 * for Q8_0, back. Source: ggml, docs/gguf.md and the block structs of ggml-common.h. */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_INTERNAL

/* Numbered as in files. */
enum plumb_quant {
    PLUMB_QUANT_NONE = 0, /* plain numbers */
    PLUMB_Q4_0 = 2,
    PLUMB_Q4_1 = 3,
    PLUMB_Q5_0 = 6,
    PLUMB_Q5_1 = 7,
    PLUMB_Q8_0 = 8,
    PLUMB_Q2_K = 10,
    PLUMB_Q3_K = 11,
    PLUMB_Q4_K = 12,
    PLUMB_Q5_K = 13,
    PLUMB_Q6_K = 14
};

#define PLUMB_QUANT_MOST 256 /* numbers in the largest block */

struct plumb_quant_format {
    const char *name; /* "Q4_K" */
    enum plumb_quant type;
    int64_t numbers, bytes; /* of a block */
};
/* NULL for a type without blocks, or none at all. */
const struct plumb_quant_format *plumb_quant_format(int64_t type);

/* out (n) f32 = the numbers of n / numbers blocks, to the bit what ggml makes of them: one rounding
 * at most. n is a multiple of the block's numbers, >= 0; blocks need no alignment. One thread;
 * callers share out rows. A scale that is no finite number makes numbers that are none. */
void plumb_dequantize(enum plumb_quant type, const void *blocks, int64_t n, float *out);

/* blocks = x (n) f32, finite, in Q8_0, as ggml rounds: scale = greatest / 127 of 32 numbers, codes
 * to nearest, halves away from zero. n is a multiple of 32. An error of at most half a scale, plus
 * the rounding of the scale to f16; numbers over 8.3e6 make scales that f16 does not hold. */
void plumb_quantize_q8_0(const float *x, int64_t n, void *blocks);

PLUMB_END_INTERNAL
