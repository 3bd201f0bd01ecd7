/* Single values of host tensors, for metrics and messages. */
#pragma once
#include "kernels/simd.h"

static inline double plumb_tensor_get(struct plumb_tensor t, int64_t i)
{
    if (t.dtype == PLUMB_BF16) return (double)plumb_bf16_to_f32(((const uint16_t *)t.data)[i]);
    return t.dtype == PLUMB_F64 ? ((const double *)t.data)[i] : (double)((const float *)t.data)[i];
}

static inline void plumb_tensor_set(struct plumb_tensor t, int64_t i, double v)
{
    if (t.dtype == PLUMB_BF16)
        ((uint16_t *)t.data)[i] = plumb_f32_to_bf16((float)v);
    else if (t.dtype == PLUMB_F64)
        ((double *)t.data)[i] = v;
    else
        ((float *)t.data)[i] = (float)v;
}
