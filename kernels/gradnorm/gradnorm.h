/* How the gradient norm is cut, the same on every device, and what clipping makes of it. A block of
 * x is summed in lanes (element i of it in lane i % LANES), the lanes in order; the sums of the
 * blocks likewise in MERGE lanes. */
#pragma once
#include <plumb/optim.h>

#include "kernels/scalar.h"

enum { PLUMB_GRADNORM_BLOCK = 8192, PLUMB_GRADNORM_LANES = 32, PLUMB_GRADNORM_MERGE = 256 };

static inline int64_t plumb_gradnorm_blocks(int64_t count)
{
    return (count + PLUMB_GRADNORM_BLOCK - 1) / PLUMB_GRADNORM_BLOCK;
}

/* plumb_clip_factor, in kernels too. Of a norm that is not finite: 0, or NaN as the norm. */
PLUMB_HD double plumb_gradnorm_clip(double norm, double max_norm)
{
    const double factor = max_norm / (norm + 1e-6);
    if (max_norm <= 0 || factor >= 1) return 1;
    return factor;
}
