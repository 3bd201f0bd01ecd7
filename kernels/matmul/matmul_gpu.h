/* The matrix product on a device: for the backend, and for ops that are made of products. */
#pragma once
#include <plumb/matmul.h>

/* What an opened device keeps for its products: the library's handle and scratch, and the
 * algorithms chosen so far. dev->stream and state must be set. */
int plumb_gpu_matmul_open(struct plumb_device *dev);
void plumb_gpu_matmul_close(struct plumb_device *dev);

/* C = op(A) op(B) + ..., queued on the device's stream; strides are given, never 0. `like` gives
 * the sizes (M, N, K and strides) for which the library's algorithm is chosen, so that products of
 * different M share one; NULL = those of `a`. */
int plumb_gpu_matmul(const struct plumb_device *dev, const struct plumb_matmul *a,
                     const struct plumb_matmul *like);

/* The library's product, for M, N, K >= 1; *refused = true when it has no algorithm. */
int plumb_gpu_matmul_library(const struct plumb_device *dev, const struct plumb_matmul *a,
                             const struct plumb_matmul *like, bool *refused);
/* Our own, which takes everything: an element is summed over k in an order that K alone fixes. */
int plumb_gpu_matmul_rows(const struct plumb_device *dev, const struct plumb_matmul *a);
