/* How the sums over rows are cut: a block of rows leaves one partial row of dw (and db), whatever
 * the thread count. */
#pragma once
#include <plumb/norm.h>

enum { PLUMB_NORM_BLOCK_ROWS = 32 };

static inline int64_t plumb_norm_blocks(const struct plumb_norm *a)
{
    return (a->N + PLUMB_NORM_BLOCK_ROWS - 1) / PLUMB_NORM_BLOCK_ROWS;
}
