/* What the op asks of the library that multiplies, and the scratch both share. */
#pragma once
#include <plumb/arena.h>
#include <plumb/matmul.h>

/* C = op(A) op(B) + ... for M, N, K >= 1 and strides given (never 0). Any thread may call at any
 * time. Fails with PLUMB_EIO and the library's reason. */
int plumb_matmul_library(const struct plumb_matmul *a);
/* Whether it multiplies bf16 on this machine (AVX2 machines: no). */
bool plumb_matmul_library_takes_bf16(void);

/* The library's product, with rows whose bits do not depend on M where a->batch_invariant asks
 * for it. */
int plumb_matmul_rows(const struct plumb_matmul *a);
/* A product of bf16 by way of f32, for libraries that refuse bf16. */
int plumb_matmul_expanded(const struct plumb_matmul *a);

/* Scratch of at least `bytes`, taken from a pool that grows to the largest size asked and is
 * never given back to the system but for the blocks that do not fit into it: nothing is
 * allocated once sizes repeat. */
int plumb_matmul_lease(size_t bytes, struct plumb_arena *out);
void plumb_matmul_give_back(struct plumb_arena *lease); /* takes a zeroed one */
