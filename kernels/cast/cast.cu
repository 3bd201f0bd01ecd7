/* Device code of the conversion between float dtypes: a thread takes four elements, in f32, or in
 * f64 where either side is f64. */
#include <plumb/optim.h>

#include "kernels/gpu_quad.h"

enum { BLOCK = 256 };

struct cast_job {
    int64_t count;
    const void *x;
    void *y;
    enum plumb_dtype to;
    bool add, whole;
};

struct quad_of_f64 {
    double v[4];
};

/* Up to four numbers of any dtype; f64 stays f64. */
template <class X> PLUMB_DEVICE struct plumb_quad take(const X *x, bool whole, int64_t left)
{
    return plumb_quad_stream(x, whole, left);
}
PLUMB_DEVICE struct quad_of_f64 take(const double *x, bool, int64_t left)
{
    struct quad_of_f64 q = {};
    PLUMB_UNROLL for (int k = 0; k < 4; k++) q.v[k] = k < left ? x[k] : 0;
    return q;
}

/* x rounded once. */
PLUMB_DEVICE void round_to(double *y, double x) { *y = x; }
PLUMB_DEVICE void round_to(float *y, double x) { *y = (float)x; }
PLUMB_DEVICE void round_to(__nv_bfloat16 *y, double x) { *y = __double2bfloat16(x); }
PLUMB_DEVICE void round_to(__half *y, double x) { *y = __double2half(x); }

PLUMB_DEVICE double as_f64(double x) { return x; }
template <class Y> PLUMB_DEVICE double as_f64(Y x) { return (double)plumb_wide(x); }

/* y[i..] = q or y += q in Y's rounding. */
template <class Y>
PLUMB_DEVICE void give(const struct cast_job *j, int64_t i, struct plumb_quad q, Y *y)
{
    const int64_t left = j->count - i;
    if (j->add) {
        const struct plumb_quad old = plumb_quad_stream(y + i, j->whole, left);
        PLUMB_UNROLL for (int k = 0; k < 4; k++) q.v[k] += old.v[k];
    }
    plumb_quad_store(y + i, &q, j->whole, left);
}
template <class Y>
PLUMB_DEVICE void give(const struct cast_job *j, int64_t i, struct quad_of_f64 q, Y *y)
{
    PLUMB_UNROLL for (int k = 0; k < 4; k++)
    {
        if (i + k >= j->count) break;
        round_to(&y[i + k], j->add ? as_f64(y[i + k]) + q.v[k] : q.v[k]);
    }
}
PLUMB_DEVICE void give(const struct cast_job *j, int64_t i, struct plumb_quad q, double *y)
{
    give(j, i, quad_of_f64{ { q.v[0], q.v[1], q.v[2], q.v[3] } }, y);
}

template <class X> __global__ void cast_quads(struct cast_job j)
{
    const int64_t i = ((int64_t)blockIdx.x * BLOCK + threadIdx.x) * 4;
    const auto x = take((const X *)j.x + i, j.whole, j.count - i);
    if (j.to == PLUMB_F32)
        give(&j, i, x, (float *)j.y);
    else if (j.to == PLUMB_BF16)
        give(&j, i, x, (__nv_bfloat16 *)j.y);
    else if (j.to == PLUMB_F16)
        give(&j, i, x, (__half *)j.y);
    else
        give(&j, i, x, (double *)j.y);
}

/* Whether an array of `t` starts at a whole quad; f64 is never taken in quads. */
static bool starts_whole(const struct plumb_tensor *t)
{
    const uintptr_t at = reinterpret_cast<uintptr_t>(t->data);
    return t->dtype == PLUMB_F64 || at % (t->dtype == PLUMB_F32 ? 16 : 8) == 0;
}

template <class X>
static cudaError_t run(const struct plumb_device *dev, const struct plumb_cast *a)
{
    const struct cast_job j = { a->count,      a->x.data,
                                a->y.data,     a->y.dtype,
                                a->accumulate, starts_whole(&a->x) && starts_whole(&a->y) };
    return PLUMB_LAUNCH(cast_quads<X>, (unsigned)plumb_ceil_div(a->count, 4 * BLOCK), BLOCK, 0,
                        plumb_gpu_stream(dev), j);
}

static int cast(const struct plumb_device *dev, const struct plumb_cast *a)
{
    const cudaError_t e = a->x.dtype == PLUMB_F64    ? run<double>(dev, a)
                          : a->x.dtype == PLUMB_F32  ? run<float>(dev, a)
                          : a->x.dtype == PLUMB_BF16 ? run<__nv_bfloat16>(dev, a)
                                                     : run<__half>(dev, a);
    return plumb_gpu_status(e, "cast");
}
PLUMB_GPU_OP(cast, plumb_cast);
