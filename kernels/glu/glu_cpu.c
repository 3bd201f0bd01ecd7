/* Native code of the MLP's activation: one pass over the rows, f32 arithmetic. Compiled once per
 * instruction set. */
#include <plumb/glu.h>

#include <math.h>

#include "kernels/op.h"
#include "kernels/simd.h"

struct act {
    float value, slope;
};

static inline struct act silu(float x)
{
    const float s = plumb_sigmoidf(x);
    return (struct act){ x * s, s * (1.0f + x * (1.0f - s)) };
}

/* 0.5 (1 + tanh u) is sigmoid(2u); its slope from the same exponential: no digits cancel. */
static inline struct act gelu_tanh(float x)
{
    const float c = 0.797884561f, k = 0.044715f;
    const float u = c * (x + k * x * x * x);
    const float e = plumb_expf(-2.0f * (u < 0 ? -u : u)), d = 1.0f / (1.0f + e);
    const float s = u < 0 ? e * d : d;
    return (struct act){ x * s, s + 2.0f * x * (e * d * d) * c * (1.0f + 3.0f * k * x * x) };
}

static inline struct act gelu_erf(float x)
{
    const float cdf = 0.5f * erfcf(-x * 0.707106781f);
    return (struct act){ x * cdf, cdf + x * 0.398942280f * plumb_expf(-0.5f * x * x) };
}

/* One row forward; ACT is inlined, bf16 and gated are constants after inlining. */
#define FORWARD(NAME, ACT)                                                                         \
    static inline void NAME(const void *x, void *y, int64_t at, int64_t out, int64_t F,            \
                            bool gated, bool bf16)                                                 \
    {                                                                                              \
        _Pragma("omp simd") for (int64_t f = 0; f < F; f++)                                        \
        {                                                                                          \
            const float v = ACT(plumb_load(x, bf16, at + f)).value;                                \
            plumb_store(y, bf16, out + f, gated ? v * plumb_load(x, bf16, at + F + f) : v);        \
        }                                                                                          \
    }
#define BACKWARD(NAME, ACT)                                                                        \
    static inline void NAME(const void *x, const void *dy, void *dx, int64_t at, int64_t out,      \
                            int64_t F, bool gated, bool bf16)                                      \
    {                                                                                              \
        _Pragma("omp simd") for (int64_t f = 0; f < F; f++)                                        \
        {                                                                                          \
            const struct act r = ACT(plumb_load(x, bf16, at + f));                                 \
            const float g = plumb_load(dy, bf16, out + f);                                         \
            const float up = gated ? plumb_load(x, bf16, at + F + f) : 1.0f;                       \
            plumb_store(dx, bf16, at + f, g * up * r.slope);                                       \
            if (gated) plumb_store(dx, bf16, at + F + f, g * r.value);                             \
        }                                                                                          \
    }
FORWARD(forward_silu, silu)
FORWARD(forward_tanh, gelu_tanh)
FORWARD(forward_erf, gelu_erf)
BACKWARD(backward_silu, silu)
BACKWARD(backward_tanh, gelu_tanh)
BACKWARD(backward_erf, gelu_erf)

int PLUMB_CPU_FN(plumb_glu_fwd_cpu)(const struct plumb_glu *a)
{
    const bool gated = plumb_act_is_gated(a->kind), bf16 = a->x.dtype == PLUMB_BF16;
    const int64_t F = a->F, ld = gated ? 2 * F : F;
    const void *x = a->x.data;
    void *y = a->y.data;
#pragma omp parallel for schedule(static) if (plumb_worth_threads(a->N, ld))
    for (int64_t n = 0; n < a->N; n++) {
        if (a->kind == PLUMB_ACT_SWIGLU && bf16)
            forward_silu(x, y, n * ld, n * F, F, true, true);
        else if (a->kind == PLUMB_ACT_SWIGLU)
            forward_silu(x, y, n * ld, n * F, F, true, false);
        else if (a->kind == PLUMB_ACT_GEGLU_TANH || a->kind == PLUMB_ACT_GELU_TANH)
            forward_tanh(x, y, n * ld, n * F, F, gated, bf16);
        else
            forward_erf(x, y, n * ld, n * F, F, gated, bf16);
    }
    return PLUMB_OK;
}

int PLUMB_CPU_FN(plumb_glu_bwd_cpu)(const struct plumb_glu *a)
{
    const bool gated = plumb_act_is_gated(a->kind), bf16 = a->x.dtype == PLUMB_BF16;
    const int64_t F = a->F, ld = gated ? 2 * F : F;
    const void *x = a->x.data, *dy = a->dy.data;
    void *dx = a->dx.data;
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < a->N; n++) {
        if (a->kind == PLUMB_ACT_SWIGLU && bf16)
            backward_silu(x, dy, dx, n * ld, n * F, F, true, true);
        else if (a->kind == PLUMB_ACT_SWIGLU)
            backward_silu(x, dy, dx, n * ld, n * F, F, true, false);
        else if (a->kind == PLUMB_ACT_GEGLU_TANH || a->kind == PLUMB_ACT_GELU_TANH)
            backward_tanh(x, dy, dx, n * ld, n * F, F, gated, bf16);
        else
            backward_erf(x, dy, dx, n * ld, n * F, F, gated, bf16);
    }
    return PLUMB_OK;
}
