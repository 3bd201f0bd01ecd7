/* What the tile kernels of the matrix product share: the job, the order of tiles, and how a
 * finished sum is written. */
#pragma once
#include "kernels/gpu.h"

struct matmul_job {
    int64_t M, N, K, lda, ldb, ldc;
    const void *a, *b, *bias;
    void *c;
    bool trans_a, trans_b, accumulate;
    bool wide_a, wide_b;        /* rows can be read 16 bytes at a time */
    bool narrow_c, narrow_bias; /* bf16 */
    bool pairs;                 /* two elements of C can be written at once */
};

/* Tiles in bands of 8 rows of tiles, so that those that run together share both operands in the
 * cache. */
PLUMB_DEVICE void matmul_tile_at(const struct matmul_job *j, int rows, int cols, int64_t *m,
                                 int64_t *n)
{
    const int64_t down = (j->M + rows - 1) / rows, across = (j->N + cols - 1) / cols;
    const int64_t first = blockIdx.x / (8 * across) * 8, at = blockIdx.x - first * across;
    const int64_t height = down - first < 8 ? down - first : 8;
    *m = (first + at % height) * rows;
    *n = at / height * cols;
}

static inline unsigned matmul_tiles(const struct matmul_job *j, int rows, int cols)
{
    return (unsigned)(plumb_ceil_div(j->M, rows) * plumb_ceil_div(j->N, cols));
}

/* The sum with the bias, or with what C held. */
PLUMB_DEVICE float matmul_finish(const struct matmul_job *j, float sum, int64_t m, int64_t n)
{
    if (j->accumulate)
        return sum + (j->narrow_c ? plumb_wide(((const __nv_bfloat16 *)j->c)[m * j->ldc + n])
                                  : ((const float *)j->c)[m * j->ldc + n]);
    if (!j->bias) return sum;
    return sum + (j->narrow_bias ? plumb_wide(((const __nv_bfloat16 *)j->bias)[n])
                                 : ((const float *)j->bias)[n]);
}

PLUMB_DEVICE void matmul_put(const struct matmul_job *j, float sum, int64_t m, int64_t n)
{
    if (m >= j->M || n >= j->N) return;
    const float x = matmul_finish(j, sum, m, n);
    if (j->narrow_c)
        plumb_narrow((__nv_bfloat16 *)j->c + m * j->ldc + n, x);
    else
        ((float *)j->c)[m * j->ldc + n] = x;
}

/* Columns n and n + 1, n even. */
PLUMB_DEVICE void matmul_put_pair(const struct matmul_job *j, float s, float t, int64_t m,
                                  int64_t n)
{
    if (!j->pairs || m >= j->M || n + 1 >= j->N) {
        matmul_put(j, s, m, n);
        matmul_put(j, t, m, n + 1);
        return;
    }
    const float x = matmul_finish(j, s, m, n), y = matmul_finish(j, t, m, n + 1);
    const int64_t at = m * j->ldc + n;
    if (j->narrow_c) {
        const uint32_t lo = __bfloat16_as_ushort(__float2bfloat16_rn(x));
        const uint32_t hi = __bfloat16_as_ushort(__float2bfloat16_rn(y));
        *reinterpret_cast<uint32_t *>((uint16_t *)j->c + at) = lo | hi << 16;
    } else {
        const uint64_t lo = __float_as_uint(x), hi = __float_as_uint(y);
        *reinterpret_cast<uint64_t *>((float *)j->c + at) = lo | hi << 32;
    }
}

/* bf16 by tensor cores (matmul_mma.cu). */
cudaError_t matmul_mma_launch(const struct matmul_job *j, cudaStream_t stream);
