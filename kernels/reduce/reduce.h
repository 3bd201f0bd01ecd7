/* How a column sum is cut: blocks of a fixed number of rows, so that neither the batch nor the
 * number of threads decides the order of a sum. */
#pragma once
#include <plumb/reduce.h>

#define PLUMB_COLSUM_ROWS 128
static inline int64_t plumb_colsum_blocks(int64_t rows)
{
    return (rows + PLUMB_COLSUM_ROWS - 1) / PLUMB_COLSUM_ROWS;
}
