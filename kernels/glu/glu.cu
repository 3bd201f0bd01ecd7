/* Device code of the MLP's activation: one pass, 16 bytes a thread, f32 arithmetic. A block takes
 * a piece of one row. */
#include <plumb/glu.h>

#include "kernels/gpu.h"

enum { BLOCK = 256 };

struct act {
    float value, slope;
};

PLUMB_DEVICE struct act silu(float x)
{
    const float e = expf(-fabsf(x)), s = x >= 0 ? 1.0f / (1.0f + e) : e / (1.0f + e);
    return act{ x * s, s * (1.0f + x * (1.0f - s)) };
}

/* 0.5 (1 + tanh u) is sigmoid(2u); its slope from the same exponential: no digits cancel. */
PLUMB_DEVICE struct act gelu_tanh(float x)
{
    const float c = 0.797884561f, k = 0.044715f;
    const float u = c * (x + k * x * x * x);
    const float e = expf(-2.0f * fabsf(u)), d = 1.0f / (1.0f + e), s = u < 0 ? e * d : d;
    return act{ x * s, s + 2.0f * x * (e * d * d) * c * (1.0f + 3.0f * k * x * x) };
}

PLUMB_DEVICE struct act gelu_erf(float x)
{
    const float cdf = 0.5f * erfcf(-x * 0.707106781f);
    return act{ x * cdf, cdf + x * 0.398942280f * expf(-0.5f * x * x) };
}

PLUMB_DEVICE struct act activate(enum plumb_act_kind kind, float x)
{
    if (kind == PLUMB_ACT_SWIGLU) return silu(x);
    if (kind == PLUMB_ACT_GEGLU_TANH || kind == PLUMB_ACT_GELU_TANH) return gelu_tanh(x);
    return gelu_erf(x);
}

struct glu_job {
    enum plumb_act_kind kind;
    bool gated;
    int64_t F, ld; /* width; elements between rows of x */
    const void *x, *dy;
    void *y, *dx;
};

template <class T> PLUMB_DEVICE T forward(const struct glu_job *j, T gate, T up)
{
    const float v = activate(j->kind, plumb_wide(gate)).value;
    T y;
    plumb_narrow(&y, j->gated ? v * plumb_wide(up) : v);
    return y;
}

template <class T> PLUMB_DEVICE void backward(const struct glu_job *j, T dy, T *gate, T *up)
{
    const struct act r = activate(j->kind, plumb_wide(*gate));
    const float g = plumb_wide(dy), u = j->gated ? plumb_wide(*up) : 1.0f;
    plumb_narrow(gate, g * u * r.slope);
    plumb_narrow(up, g * r.value);
}

template <class T> __global__ void glu_fwd_wide(struct glu_job j)
{
    const int64_t f = ((int64_t)blockIdx.y * BLOCK + threadIdx.x) * plumb_vec<T>::n;
    if (f >= j.F) return;
    const T *x = (const T *)j.x + blockIdx.x * j.ld + f;
    const plumb_vec<T> gate = plumb_ldcs16(x);
    plumb_vec<T> up = gate, y;
    if (j.gated) up = plumb_ldcs16(x + j.F);
    PLUMB_UNROLL for (int i = 0; i < plumb_vec<T>::n; i++) y.v[i] = forward(&j, gate.v[i], up.v[i]);
    plumb_st16((T *)j.y + blockIdx.x * j.F + f, y);
}

template <class T> __global__ void glu_fwd_any(struct glu_job j)
{
    const int64_t f = (int64_t)blockIdx.y * BLOCK + threadIdx.x;
    if (f >= j.F) return;
    const T *x = (const T *)j.x + blockIdx.x * j.ld + f;
    ((T *)j.y)[blockIdx.x * j.F + f] = forward(&j, x[0], j.gated ? x[j.F] : x[0]);
}

template <class T> __global__ void glu_bwd_wide(struct glu_job j)
{
    const int64_t f = ((int64_t)blockIdx.y * BLOCK + threadIdx.x) * plumb_vec<T>::n;
    if (f >= j.F) return;
    const int64_t at = blockIdx.x * j.ld + f;
    const plumb_vec<T> dy = plumb_ldcs16((const T *)j.dy + blockIdx.x * j.F + f);
    plumb_vec<T> gate = plumb_ldcs16((const T *)j.x + at), up = gate;
    if (j.gated) up = plumb_ldcs16((const T *)j.x + at + j.F);
    PLUMB_UNROLL for (int i = 0; i < plumb_vec<T>::n; i++)
        backward(&j, dy.v[i], &gate.v[i], &up.v[i]);
    plumb_st16((T *)j.dx + at, gate);
    if (j.gated) plumb_st16((T *)j.dx + at + j.F, up);
}

template <class T> __global__ void glu_bwd_any(struct glu_job j)
{
    const int64_t f = (int64_t)blockIdx.y * BLOCK + threadIdx.x;
    if (f >= j.F) return;
    const int64_t at = blockIdx.x * j.ld + f;
    const T *x = (const T *)j.x + at;
    T gate = x[0], up = j.gated ? x[j.F] : gate;
    backward(&j, ((const T *)j.dy)[blockIdx.x * j.F + f], &gate, &up);
    ((T *)j.dx)[at] = gate;
    if (j.gated) ((T *)j.dx)[at + j.F] = up;
}

static struct glu_job describe(const struct plumb_glu *a)
{
    const bool gated = a->kind == PLUMB_ACT_SWIGLU || a->kind == PLUMB_ACT_GEGLU_TANH ||
                       a->kind == PLUMB_ACT_GEGLU_ERF;
    return glu_job{ a->kind,   gated,      a->F,      gated ? 2 * a->F : a->F,
                    a->x.data, a->dy.data, a->y.data, a->dx.data };
}

template <class T>
static int run(const struct plumb_device *dev, const struct plumb_glu *a, bool backward)
{
    const struct glu_job j = describe(a);
    const T *other = (const T *)(backward ? j.dx : j.y);
    const bool wide = plumb_aligned16((const T *)j.x, j.F) && plumb_aligned16(other, j.F) &&
                      plumb_aligned16((const T *)j.dy, j.F);
    const int64_t piece = BLOCK * (wide ? (int64_t)plumb_vec<T>::n : 1);
    const dim3 grid((unsigned)a->N, (unsigned)plumb_ceil_div(a->F, piece));
    void (*const kernel)(struct glu_job) = backward ? wide ? glu_bwd_wide<T> : glu_bwd_any<T>
                                           : wide ? glu_fwd_wide<T>
                                                    : glu_fwd_any<T>;
    return plumb_gpu_status(PLUMB_LAUNCH(kernel, grid, BLOCK, 0, plumb_gpu_stream(dev), j), "glu");
}

static int glu_fwd(const struct plumb_device *dev, const struct plumb_glu *a)
{
    if (a->N == 0) return PLUMB_OK;
    return a->x.dtype == PLUMB_BF16 ? run<__nv_bfloat16>(dev, a, false) : run<float>(dev, a, false);
}
PLUMB_GPU_OP(glu_fwd, plumb_glu);

static int glu_bwd(const struct plumb_device *dev, const struct plumb_glu *a)
{
    if (a->N == 0) return PLUMB_OK;
    return a->x.dtype == PLUMB_BF16 ? run<__nv_bfloat16>(dev, a, true) : run<float>(dev, a, true);
}
PLUMB_GPU_OP(glu_bwd, plumb_glu);
