/* Native code of the rotary positions: one pass over the rows, f32 arithmetic. Compiled once per
 * instruction set. */
#include <plumb/rope.h>

#include "kernels/op.h"
#include "kernels/simd.h"

/* One head of one row at element `at`; x may be y: a pair is read before it is written. */
static inline void turn_half(const void *x, void *y, bool bf16, int64_t at, int64_t half,
                             const float *c, const float *s, float sign)
{
#pragma omp simd
    for (int64_t i = 0; i < half; i++) {
        const float u = plumb_load(x, bf16, at + i), v = plumb_load(x, bf16, at + half + i),
                    t = sign * s[i];
        plumb_store(y, bf16, at + i, u * c[i] - v * t);
        plumb_store(y, bf16, at + half + i, v * c[i] + u * t);
    }
}

static inline void turn_interleaved(const void *x, void *y, bool bf16, int64_t at, int64_t half,
                                    const float *c, const float *s, float sign)
{
#pragma omp simd
    for (int64_t i = 0; i < half; i++) {
        const float u = plumb_load(x, bf16, at + 2 * i), v = plumb_load(x, bf16, at + 2 * i + 1),
                    t = sign * s[i];
        plumb_store(y, bf16, at + 2 * i, u * c[i] - v * t);
        plumb_store(y, bf16, at + 2 * i + 1, v * c[i] + u * t);
    }
}

static inline void turn_row(const struct plumb_rope *a, bool bf16, int64_t at, const float *c,
                            const float *s)
{
    const void *x = a->x.data;
    void *y = a->y.data;
    const float sign = a->inverse ? -1.0f : 1.0f;
    for (int64_t h = 0; h < a->H; h++, at += a->K) {
        if (a->kind == PLUMB_ROPE_HALF)
            turn_half(x, y, bf16, at, a->R / 2, c, s, sign);
        else
            turn_interleaved(x, y, bf16, at, a->R / 2, c, s, sign);
        if (x == y || a->R == a->K) continue;
        const size_t elem = bf16 ? 2 : 4, from = (size_t)(at + a->R) * elem;
        memcpy((char *)y + from, (const char *)x + from, (size_t)(a->K - a->R) * elem);
    }
}

int PLUMB_CPU_FN(plumb_rope_cpu)(const struct plumb_rope *a)
{
    const int64_t half = a->R / 2, ld = a->ld ? a->ld : a->H * a->K;
    const float *cosines = a->cos.data, *sines = a->sin.data;
    const bool bf16 = a->x.dtype == PLUMB_BF16;
#pragma omp parallel for schedule(static) if (plumb_worth_threads(a->N, a->H * a->K))
    for (int64_t n = 0; n < a->N; n++) {
        const float *c = cosines + a->position[n] * half, *s = sines + a->position[n] * half;
        if (bf16)
            turn_row(a, true, n * ld, c, s);
        else
            turn_row(a, false, n * ld, c, s);
    }
    return PLUMB_OK;
}
