/* Single values of host tensors, for metrics and messages. */
#pragma once
#include <plumb/base.h>

static inline double plumb_tensor_get(struct plumb_tensor t, int64_t i)
{
    return t.dtype == PLUMB_F64 ? ((const double *)t.data)[i] : (double)((const float *)t.data)[i];
}

static inline void plumb_tensor_set(struct plumb_tensor t, int64_t i, double v)
{
    if (t.dtype == PLUMB_F64)
        ((double *)t.data)[i] = v;
    else
        ((float *)t.data)[i] = (float)v;
}
