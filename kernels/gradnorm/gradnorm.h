/* How the gradient norm is cut: blocks of fixed size, so the result is that of any number of
 * threads. */
#pragma once
#include <plumb/optim.h>

#define PLUMB_GRADNORM_BLOCK 8192 /* elements */
static inline int64_t plumb_gradnorm_blocks(int64_t count)
{
    return (count + PLUMB_GRADNORM_BLOCK - 1) / PLUMB_GRADNORM_BLOCK;
}
