/* What the dispatcher of plumb_dequantize hands to the native code. */
#pragma once
#include <plumb/quant.h>

struct plumb_dequantize {
    const struct plumb_quant_format *format;
    const unsigned char *blocks;
    int64_t count; /* blocks */
    float *out;
};
