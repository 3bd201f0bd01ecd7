/* What native code and device share. A column sum is cut in blocks of a fixed number of rows, so
 * that neither the batch nor the number of threads decides the order of a sum. */
#pragma once
#include <plumb/reduce.h>

#include "kernels/scalar.h"

/* x scaled, and divided for the mean of a run of `length`. */
PLUMB_HD double plumb_segsum_scaled(const struct plumb_segsum *a, double x, int64_t length)
{
    const double y = a->scale != 0 ? a->scale * x : x;
    return a->mean && length > 0 ? y / (double)length : y;
}

PLUMB_HD bool plumb_segsum_discounts(const struct plumb_segsum *a)
{
    return a->discount != 0 && a->discount != 1;
}

#define PLUMB_COLSUM_ROWS 128
static inline int64_t plumb_colsum_blocks(int64_t rows)
{
    return (rows + PLUMB_COLSUM_ROWS - 1) / PLUMB_COLSUM_ROWS;
}
