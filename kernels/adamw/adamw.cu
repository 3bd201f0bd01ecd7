/* Device code of the optimizer's step: one pass over gradient, moments and weights, four elements a
 * thread, f32 arithmetic. */
#include "kernels/adamw/adamw.h"

#include "kernels/gpu_quad.h"

enum { BLOCK = 256 };

struct adamw_job {
    struct plumb_adamw_constants k;
    int64_t count, first;
    const float *grad;
    float *m, *v;
    void *w;
    __nv_bfloat16 *copy; /* or NULL */
    const uint8_t *decay;
    const double *norm;
    double grad_scale, max_grad_norm;
    bool whole; /* all arrays start at whole quads */
};

PLUMB_DEVICE void keep_weights(const struct adamw_job *j, float *, int64_t i,
                               const struct plumb_quad *w)
{
    plumb_quad_store((float *)j->w + i, w, j->whole, j->count - i);
    if (j->copy) plumb_quad_store(j->copy + i, w, j->whole, j->count - i);
}

/* bf16 without a master is rounded at random; storing what is bf16 already rounds nothing. */
PLUMB_DEVICE void keep_weights(const struct adamw_job *j, __nv_bfloat16 *, int64_t i,
                               const struct plumb_quad *w)
{
    struct plumb_quad r;
    PLUMB_UNROLL for (int k = 0; k < 4; k++)
    {
        const uint64_t element = (uint64_t)(j->first + i + k);
        const uint16_t bits = plumb_adamw_round(w->v[k], plumb_philox_word(&j->k.key, element));
        r.v[k] = __uint_as_float((uint32_t)bits << 16);
    }
    plumb_quad_store((__nv_bfloat16 *)j->w + i, &r, j->whole, j->count - i);
}

template <class W> __global__ void adamw_step(struct adamw_job j)
{
    __shared__ float block_scale;
    const int64_t i = ((int64_t)blockIdx.x * BLOCK + threadIdx.x) * 4, left = j.count - i;
    struct plumb_quad g = plumb_quad_stream(j.grad + i, j.whole, left);
    struct plumb_quad m = plumb_quad_stream(j.m + i, j.whole, left);
    struct plumb_quad v = plumb_quad_stream(j.v + i, j.whole, left);
    struct plumb_quad w = plumb_quad_stream((const W *)j.w + i, j.whole, left);
    const bool decays = left > 0 && j.decay && j.decay[i / 32];
    if (threadIdx.x == 0) block_scale = plumb_adamw_scale(j.grad_scale, j.norm, j.max_grad_norm);
    __syncthreads();
    const float scale = block_scale, shrink = decays ? j.k.shrink : 0.0f;
    if (left <= 0 || isnan(scale)) return;
    PLUMB_UNROLL for (int k = 0; k < 4; k++)
        w.v[k] = plumb_adamw_element(&j.k, scale * g.v[k], &m.v[k], &v.v[k], w.v[k], shrink);
    plumb_quad_store(j.m + i, &m, j.whole, left);
    plumb_quad_store(j.v + i, &v, j.whole, left);
    keep_weights(&j, (W *)NULL, i, &w);
}

template <class W> static int run(const struct plumb_device *dev, const struct plumb_adamw *a)
{
    struct adamw_job j = { plumb_adamw_prepare(a),
                           a->count,
                           a->first,
                           (const float *)a->grad.data,
                           (float *)a->m.data,
                           (float *)a->v.data,
                           a->w.data,
                           (__nv_bfloat16 *)a->copy.data,
                           a->decay,
                           a->norm,
                           a->grad_scale,
                           a->max_grad_norm,
                           false };
    j.whole = plumb_quads(j.grad, 0) && plumb_quads(j.m, 0) && plumb_quads(j.v, 0) &&
              plumb_quads((const W *)j.w, 0) && plumb_quads(j.copy, 0);
    const unsigned blocks = (unsigned)plumb_ceil_div(a->count, 4 * BLOCK);
    return plumb_gpu_status(PLUMB_LAUNCH(adamw_step<W>, blocks, BLOCK, 0, plumb_gpu_stream(dev), j),
                            "adamw");
}

static int adamw(const struct plumb_device *dev, const struct plumb_adamw *a)
{
    return a->w.dtype == PLUMB_BF16 ? run<__nv_bfloat16>(dev, a) : run<float>(dev, a);
}
PLUMB_GPU_OP(adamw, plumb_adamw);
