/* C = op(A) op(B) (+ bias) (+ C). The one general matrix product; oneDNN on the CPU; on CUDA
 * cuBLASLt, and tile kernels of our own where batch_invariant asks for more than it promises. */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_C

struct plumb_matmul {
    size_t struct_bytes;        /* sizeof(struct plumb_matmul) */
    int64_t M, N, K;            /* sizes of C (M,N) and of the sum; all >= 0, K = 0 sums nothing */
    struct plumb_tensor a;      /* in: (M,K) row-major, or (K,M) with trans_a; f32 or bf16 */
    struct plumb_tensor b;      /* in: (K,N), or (N,K) with trans_b; dtype of a */
    struct plumb_tensor c;      /* (M,N) out, in/out with accumulate; f32, or bf16 when a is
                                 * bf16; no alias of a, b */
    struct plumb_tensor bias;   /* (N) in, f32 or dtype of b; absent = none; not with accumulate */
    int64_t lda, ldb, ldc;      /* elements between rows as stored; 0 = dense */
    bool trans_a, trans_b;
    bool accumulate;            /* C += instead of C = */
    bool batch_invariant;       /* a row of C has the same bits for every M and every place in A */
};

/* Sums are f32 (f64 on ref); on CUDA a bias is rounded to C's dtype first, unless batch_invariant.
 * Deterministic for a given thread count, instruction set and library. Cost 2MNK flops. Fails:
 * PLUMB_EINVAL (sizes, strides, dtypes), PLUMB_EIO when the library refuses. */
int plumb_matmul(const struct plumb_device *dev, const struct plumb_matmul *a);
/* The oracle: all tensors f64; every intermediate is rounded to `round` (PLUMB_F64 = exact
 * arithmetic's stand-in). */
void plumb_matmul_ref(const struct plumb_matmul *a, enum plumb_dtype round);
/* The library in use and its version, "oneDNN 2.6.3", into out; cut to n bytes. */
void plumb_matmul_version(char *out, size_t n);

PLUMB_END_C
