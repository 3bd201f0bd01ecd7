/* Micro-kernels of the native attention: a small product, a transpose, an exponential. Every lane
 * of a vector sees the same operations in the same order, so what stands beside it cannot change
 * its bits. */
#pragma once
#include "kernels/simd.h"

#if defined(__AVX512F__)
enum { VL = 16, VMAX = 4 };
#elif defined(__AVX__)
enum { VL = 8, VMAX = 2 };
#else
enum { VL = 4, VMAX = 2 };
#endif
enum { STEP = 16 }; /* widths and strides of all panels are multiples of it */

/* The compiler's vector type: arrays of it stay in registers, those of an omp simd loop do not. */
typedef float plumb_vec __attribute__((vector_size(VL * 4), aligned(4), may_alias));
typedef float plumb_vec4 __attribute__((vector_size(16), aligned(4), may_alias));

/* The left matrix of mm: element (i, d) stands at p[i * row + d * step]. */
struct operand {
    const float *p;
    int64_t row, step;
};

/* A panel of rows `ld` apart. */
struct panel {
    float *p;
    int64_t ld;
};

static inline __attribute__((always_inline)) void mm_block(struct panel c, struct operand a,
                                                           struct panel b, int64_t D, bool add,
                                                           const int R, const int V)
{
    plumb_vec sum[12][4];
#pragma GCC unroll 12
    for (int i = 0; i < R; i++)
#pragma GCC unroll 4
        for (int j = 0; j < V; j++)
            sum[i][j] = (plumb_vec){ 0 };
    for (int64_t d = 0; d < D; d++) {
        const plumb_vec *x = (const plumb_vec *)(b.p + d * b.ld);
#pragma GCC unroll 12
        for (int i = 0; i < R; i++)
#pragma GCC unroll 4
            for (int j = 0; j < V; j++)
                sum[i][j] += a.p[i * a.row + d * a.step] * x[j];
    }
#pragma GCC unroll 12
    for (int i = 0; i < R; i++)
#pragma GCC unroll 4
        for (int j = 0; j < V; j++) {
            plumb_vec *to = (plumb_vec *)(c.p + i * c.ld) + j;
            if (add) sum[i][j] += *to;
            *to = sum[i][j];
        }
}

#define MM_ROWS(R, V)                                                                              \
    for (; i + R <= I; i += R, a.p += R * a.row, c.p += R * c.ld)                                  \
    mm_block(c, a, b, D, add, R, V)
#define MM_COLUMNS(R, V)                                                                           \
    static __attribute__((noinline)) void mm_columns_##V(                                          \
        struct panel c, struct operand a, struct panel b, int64_t I, int64_t D, bool add)          \
    {                                                                                              \
        int64_t i = 0;                                                                             \
        MM_ROWS(R, V);                                                                             \
        MM_ROWS(4, V);                                                                             \
        MM_ROWS(1, V);                                                                             \
    }
MM_COLUMNS(6, 2)
#if defined(__AVX512F__)
MM_COLUMNS(12, 1)
MM_COLUMNS(6, 3)
MM_COLUMNS(6, 4)
#endif

/* c(i, w) = [c(i, w) +] the sum over d < D, in order, of a(i, d) b(d, w), for i < I and w < W, a
 * multiple of STEP. */
static void mm(struct panel c, struct operand a, struct panel b, int64_t I, int64_t D, int64_t W,
               bool add)
{
    while (W > 0) {
        const int64_t vectors = W / VL < VMAX ? W / VL : VMAX;
#if defined(__AVX512F__)
        if (vectors == 4)
            mm_columns_4(c, a, b, I, D, add);
        else if (vectors == 3)
            mm_columns_3(c, a, b, I, D, add);
        else if (vectors == 1)
            mm_columns_1(c, a, b, I, D, add);
        else
#endif
            mm_columns_2(c, a, b, I, D, add);
        c.p += vectors * VL;
        b.p += vectors * VL;
        W -= vectors * VL;
    }
}

/* to(j, i) = from(i, j) for i < rows and j < columns, multiples of 4. */
static inline void transpose(struct panel to, struct panel from, int64_t rows, int64_t columns)
{
    for (int64_t i = 0; i < rows; i += 4)
        for (int64_t j = 0; j < columns; j += 4) {
            plumb_vec4 r[4], s[4];
#pragma GCC unroll 4
            for (int k = 0; k < 4; k++)
                r[k] = *(plumb_vec4 *)(from.p + (i + k) * from.ld + j);
            s[0] = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5);
            s[1] = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7);
            s[2] = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5);
            s[3] = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
            r[0] = __builtin_shufflevector(s[0], s[2], 0, 1, 4, 5);
            r[1] = __builtin_shufflevector(s[0], s[2], 2, 3, 6, 7);
            r[2] = __builtin_shufflevector(s[1], s[3], 0, 1, 4, 5);
            r[3] = __builtin_shufflevector(s[1], s[3], 2, 3, 6, 7);
#pragma GCC unroll 4
            for (int k = 0; k < 4; k++)
                *(plumb_vec4 *)(to.p + (j + k) * to.ld + i) = r[k];
        }
}

/* e^x for x <= 88, as plumb_expf but without its upper half: a softmax needs no large results. */
static inline float exp_below(float x)
{
    const float c = x < -87.0f ? -87.0f : x, shift = 12582912.0f; /* a NaN stays */
    const float t = c * 1.44269504f + shift, n = t - shift;
    float r = c - n * 0.693145752f;
    r = r - n * 1.42860677e-6f;
    float p = 1.98756915e-4f;
    p = p * r + 1.39819995e-3f;
    p = p * r + 8.33345190e-3f;
    p = p * r + 4.16657962e-2f;
    p = p * r + 1.66666657e-1f;
    p = p * r + 0.5f;
    p = p * (r * r) + r + 1.0f;
    const float y = p * plumb_f32_of_bits((plumb_bits_of_f32(t) << 23) + 0x3f800000u);
    return x < -87.0f ? 0.0f : y;
}
