/* Native step of the optimizer: one pass over gradient, moments and weights, f32 arithmetic.
 * Compiled once per instruction set. */
#include <plumb/optim.h>

#include <math.h>

#include "kernels/op.h"
#include "kernels/philox.h"
#include "kernels/simd.h"

enum {
    RUN = 32,
    BLOCK = 512
}; /* elements that share a decay byte; runs a thread takes at a time */

/* The step's constants, each rounded once from f64. */
struct constants {
    float scale, c1, c2, b1, b2, step, root, eps; /* c = 1 - beta; root = 1 / sqrt(1 - beta2^t) */
    float shrink;                                 /* lr * weight_decay */
    struct plumb_rng_key key;
};

static struct constants prepare(const struct plumb_adamw *a)
{
    const double t = (double)a->step;
    return (struct constants){
        .scale = (float)a->grad_scale,
        .c1 = (float)(1 - a->beta1),
        .c2 = (float)(1 - a->beta2),
        .b1 = (float)a->beta1,
        .b2 = (float)a->beta2,
        .step = (float)(a->lr / -expm1(t * log(a->beta1))),
        .root = (float)(1 / sqrt(-expm1(t * log(a->beta2)))),
        .eps = (float)a->eps,
        .shrink = (float)(a->lr * a->weight_decay),
        .key = { a->seed, PLUMB_RNG_ROUND, (uint64_t)a->step },
    };
}

/* from + (1 - b) (to - from): unlike b from + c to it keeps a constant exactly, where f32's
 * 0.999 and 0.001 do not add up to 1. The second form is exact at b = 0. */
static inline float blend(float from, float to, float b, float c)
{
    const float d = to - from;
    return c < 0.5f ? from + c * d : to - b * d;
}

/* bf16 above or below x at random, so that the mean is x: 16 random bits are added and cut off. */
static inline uint16_t round_at_random(float x, uint32_t word)
{
    const uint32_t u = plumb_bits_of_f32(x);
    const bool finite = (u & 0x7f800000u) != 0x7f800000u;
    return finite ? (uint16_t)((u + (word & 0xffffu)) >> 16) : plumb_f32_to_bf16(x);
}

/* Elements [from, to) with one decay; bf16 and copy are constants after inlining. */
static inline __attribute__((always_inline)) void run(const struct plumb_adamw *a,
                                                      const struct constants *k, int64_t from,
                                                      int64_t to, float shrink, bool bf16,
                                                      bool copy)
{
    const struct constants c = *k;
    const float *grad = a->grad.data;
    float *m = a->m.data, *v = a->v.data;
    uint16_t *narrow = a->copy.data;
#pragma omp simd
    for (int64_t i = from; i < to; i++) {
        const float g = c.scale * grad[i];
        m[i] = blend(m[i], g, c.b1, c.c1);
        v[i] = blend(v[i], g * g, c.b2, c.c2);
        const float old = plumb_load(a->w.data, bf16, i);
        const float w = old - (shrink * old + c.step * m[i] / (sqrtf(v[i]) * c.root + c.eps));
        if (bf16)
            ((uint16_t *)a->w.data)[i] = round_at_random(
                w, plumb_philox_word(&c.key, (uint64_t)(a->first + i)));
        else
            ((float *)a->w.data)[i] = w;
        if (copy) narrow[i] = plumb_f32_to_bf16(w);
    }
}

int PLUMB_CPU_FN(plumb_adamw_cpu)(const struct plumb_adamw *a)
{
    const struct constants c = prepare(a);
    const bool bf16 = a->w.dtype == PLUMB_BF16, copy = a->copy.data != NULL;
    const int64_t runs = (a->count + RUN - 1) / RUN;
#pragma omp parallel for schedule(static, BLOCK) if (runs > BLOCK)
    for (int64_t r = 0; r < runs; r++) {
        const int64_t from = r * RUN, to = r == runs - 1 ? a->count : from + RUN;
        const float shrink = a->decay && a->decay[r] ? c.shrink : 0.0f;
        if (bf16)
            run(a, &c, from, to, shrink, true, false);
        else if (copy)
            run(a, &c, from, to, shrink, false, true);
        else
            run(a, &c, from, to, shrink, false, false);
    }
    return PLUMB_OK;
}
