/* What native and device code of the optimizer's step share: its constants and the arithmetic of
 * one element, in f32. */
#pragma once
#include <math.h>
#include <plumb/optim.h>
#include <string.h>

#include "kernels/gradnorm/gradnorm.h"
#include "kernels/philox.h"

/* Each rounded once from f64. */
struct plumb_adamw_constants {
    float c1, c2, b1, b2, step, root, eps; /* c = 1 - beta; root = 1 / sqrt(1 - beta2^t) */
    float shrink;                          /* lr * weight_decay */
    struct plumb_rng_key key;
};

static inline struct plumb_adamw_constants plumb_adamw_prepare(const struct plumb_adamw *a)
{
    const double t = (double)a->step;
    struct plumb_adamw_constants c;
    c.c1 = (float)(1 - a->beta1);
    c.c2 = (float)(1 - a->beta2);
    c.b1 = (float)a->beta1;
    c.b2 = (float)a->beta2;
    c.step = (float)(a->lr / -expm1(t * log(a->beta1)));
    c.root = (float)(1 / sqrt(-expm1(t * log(a->beta2))));
    c.eps = (float)a->eps;
    c.shrink = (float)(a->lr * a->weight_decay);
    c.key.seed = a->seed;
    c.key.purpose = PLUMB_RNG_ROUND;
    c.key.sample = (uint64_t)a->step;
    return c;
}

/* The factor of the gradient; NaN where the step must not be taken. */
PLUMB_HD float plumb_adamw_scale(double grad_scale, const double *norm, double max_grad_norm)
{
    if (!norm) return (float)grad_scale;
    const double size = *norm;
    if (!(size - size == 0)) return (float)(size - size); /* infinite or NaN */
    return (float)(grad_scale * plumb_gradnorm_clip(size, max_grad_norm));
}

/* from + (1 - b) (to - from): unlike b from + c to it keeps a constant exactly, where f32's
 * 0.999 and 0.001 do not add up to 1. The second form is exact at b = 0. */
PLUMB_HD float plumb_adamw_blend(float from, float to, float b, float c)
{
    const float d = to - from;
    return c < 0.5f ? from + c * d : to - b * d;
}

/* Moves m and v by the scaled gradient g; the new weight in place of `old`. */
PLUMB_HD float plumb_adamw_element(const struct plumb_adamw_constants *k, float g, float *m,
                                   float *v, float old, float shrink)
{
    *m = plumb_adamw_blend(*m, g, k->b1, k->c1);
    *v = plumb_adamw_blend(*v, g * g, k->b2, k->c2);
    return old - (shrink * old + k->step * *m / (sqrtf(*v) * k->root + k->eps));
}

/* bf16 above or below x at random, so that the mean is x: 16 random bits are added and cut off.
 * Infinity and NaN stay what they are. */
PLUMB_HD uint16_t plumb_adamw_round(float x, uint32_t word)
{
    uint32_t u;
    memcpy(&u, &x, 4);
    const bool finite = (u & 0x7f800000u) != 0x7f800000u, nan = (u & 0x7fffffffu) > 0x7f800000u;
    return (uint16_t)((finite ? u + (word & 0xffffu) : u | (nan ? 0x400000u : 0u)) >> 16);
}
