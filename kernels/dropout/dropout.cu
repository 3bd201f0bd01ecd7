/* Device code of dropout: a thread takes four columns, which one block of random words decides
 * on. */
#include "kernels/dropout/dropout.h"

#include "kernels/gpu_quad.h"

enum { BLOCK = 256 };

struct dropout_job {
    int64_t N, D, ldx, ldy, quads, stream;
    const void *x;
    void *y;
    const int32_t *sample, *position;
    uint64_t seed;
    uint32_t limit;
    float factor;
    bool add, whole;
};

template <class X, class Y> __global__ void dropout_quads(struct dropout_job j)
{
    const int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x;
    if (i >= j.N * j.quads) return;
    const int64_t n = i / j.quads, q = i % j.quads, left = j.D - 4 * q;
    struct plumb_quad v = plumb_quad_load((const X *)j.x + n * j.ldx + 4 * q, j.whole, left);
    Y *y = (Y *)j.y + n * j.ldy + 4 * q;
    uint32_t word[4] = { 0, 0, 0, 0 };
    if (j.limit) plumb_dropout_words(j.seed, j.stream, j.sample[n], j.position[n], q, word);
    PLUMB_UNROLL for (int k = 0; k < 4; k++) v.v[k] = word[k] >= j.limit ? v.v[k] * j.factor : 0.0f;
    if (j.add) {
        const struct plumb_quad old = plumb_quad_load((const Y *)y, j.whole, left);
        PLUMB_UNROLL for (int k = 0; k < 4; k++) v.v[k] += old.v[k];
    }
    plumb_quad_store(y, &v, j.whole, left);
}

template <class X, class Y>
static cudaError_t run(const struct plumb_device *dev, const struct plumb_dropout *a)
{
    struct dropout_job j = {};
    j.N = a->N, j.D = a->D, j.ldx = a->ldx, j.ldy = a->ldy, j.stream = a->stream;
    j.quads = plumb_ceil_div(a->D, 4);
    j.x = a->x.data, j.y = a->y.data, j.sample = a->sample, j.position = a->position;
    j.seed = plumb_dropout_seed(a), j.limit = plumb_dropout_limit(a);
    j.factor = (float)(a->scale / (1 - a->p));
    j.add = a->accumulate;
    j.whole = plumb_quads((const X *)a->x.data, a->ldx) &&
              plumb_quads((const Y *)a->y.data, a->ldy);
    return PLUMB_LAUNCH((dropout_quads<X, Y>), (unsigned)plumb_ceil_div(j.N * j.quads, BLOCK),
                        BLOCK, 0, plumb_gpu_stream(dev), j);
}

static int dropout(const struct plumb_device *dev, const struct plumb_dropout *a)
{
    const bool from = a->x.dtype == PLUMB_BF16, to = a->y.dtype == PLUMB_BF16;
    const cudaError_t e = from ? (to ? run<__nv_bfloat16, __nv_bfloat16>(dev, a)
                                     : run<__nv_bfloat16, float>(dev, a))
                               : (to ? run<float, __nv_bfloat16>(dev, a)
                                     : run<float, float>(dev, a));
    return plumb_gpu_status(e, "dropout");
}
PLUMB_GPU_OP(dropout, plumb_dropout);
