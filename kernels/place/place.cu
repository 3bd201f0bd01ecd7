/* Device code of the placing of rows: a warp copies one row, in 16 bytes at a time where both rows
 * start at such. */
#include <plumb/place.h>

#include "kernels/gpu.h"

enum { WARPS = 8 };

struct place_job {
    int64_t N, D, R, ldx, ldy;
    const int32_t *to;
    const void *x;
    void *y;
};

template <class T> __global__ void place_rows(struct place_job j)
{
    const int64_t n = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32, step = plumb_vec<T>::n;
    if (n >= j.N) return;
    const int64_t to = j.to[n];
    if (to < 0 || to >= j.R) return;
    const T *x = (const T *)j.x + n * j.ldx;
    T *y = (T *)j.y + to * j.ldy;
    for (int64_t d = threadIdx.x % 32 * step; d < j.D; d += 32 * step)
        plumb_st16(y + d, plumb_ld16(x + d));
}

template <class T> __global__ void place_any(struct place_job j)
{
    const int64_t n = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32;
    if (n >= j.N) return;
    const int64_t to = j.to[n];
    if (to < 0 || to >= j.R) return;
    for (int64_t d = threadIdx.x % 32; d < j.D; d += 32)
        ((T *)j.y)[to * j.ldy + d] = ((const T *)j.x)[n * j.ldx + d];
}

template <class T> static cudaError_t run(const struct plumb_device *dev, const struct place_job *j)
{
    const unsigned grid = (unsigned)plumb_ceil_div(j->N, WARPS);
    const uintptr_t all = reinterpret_cast<uintptr_t>(j->x) | reinterpret_cast<uintptr_t>(j->y) |
                          (uintptr_t)(j->ldx | j->ldy | j->D) * sizeof(T);
    if (all % 16 == 0)
        return PLUMB_LAUNCH(place_rows<T>, grid, 32 * WARPS, 0, plumb_gpu_stream(dev), *j);
    return PLUMB_LAUNCH(place_any<T>, grid, 32 * WARPS, 0, plumb_gpu_stream(dev), *j);
}

static int place(const struct plumb_device *dev, const struct plumb_place *a)
{
    if (a->N == 0) return PLUMB_OK;
    const struct place_job j = {
        a->N,  a->D,      a->R,     a->ldx ? a->ldx : a->D, a->ldy ? a->ldy : a->D,
        a->to, a->x.data, a->y.data
    };
    return plumb_gpu_status(
        a->x.dtype == PLUMB_BF16 ? run<__nv_bfloat16>(dev, &j) : run<float>(dev, &j), "place");
}
PLUMB_GPU_OP(place, plumb_place);
