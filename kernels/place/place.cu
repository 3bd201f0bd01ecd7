/* Device code of the placing of rows: a warp copies one row, in the widest pieces that both rows
 * start at. */
#include <plumb/place.h>

#include "kernels/gpu.h"

enum { WARPS = 8 };

struct place_job {
    int64_t N, D, R, ldx, ldy; /* D and strides in pieces */
    const int32_t *to;
    const void *x;
    void *y;
};

template <class T> __global__ void place_rows(struct place_job j)
{
    const int64_t n = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32;
    if (n >= j.N) return;
    const int64_t to = j.to[n];
    if (to < 0 || to >= j.R) return;
    const T *x = (const T *)j.x + n * j.ldx;
    T *y = (T *)j.y + to * j.ldy;
    for (int64_t d = threadIdx.x % 32; d < j.D; d += 32)
        y[d] = x[d];
}

static int place(const struct plumb_device *dev, const struct plumb_place *a)
{
    if (a->N == 0) return PLUMB_OK;
    const int64_t size = (int64_t)plumb_gpu_bytes(a->x.dtype);
    const int64_t ldx = (a->ldx ? a->ldx : a->D) * size, ldy = (a->ldy ? a->ldy : a->D) * size;
    const uintptr_t all = reinterpret_cast<uintptr_t>(a->x.data) |
                          reinterpret_cast<uintptr_t>(a->y.data) |
                          (uintptr_t)(ldx | ldy | (a->D * size));
    const int64_t piece = all % 16 == 0 ? 16 : size;
    const struct place_job j = { a->N,        a->D * size / piece, a->R,      ldx / piece,
                                 ldy / piece, a->to,               a->x.data, a->y.data };
    const unsigned grid = (unsigned)plumb_ceil_div(a->N, WARPS);
    cudaStream_t stream = plumb_gpu_stream(dev);
    const cudaError_t e =
        piece == 16 ? PLUMB_LAUNCH(place_rows<uint4>, grid, 32 * WARPS, 0, stream, j)
        : size == 4 ? PLUMB_LAUNCH(place_rows<uint32_t>, grid, 32 * WARPS, 0, stream, j)
                    : PLUMB_LAUNCH(place_rows<uint16_t>, grid, 32 * WARPS, 0, stream, j);
    return plumb_gpu_status(e, "place");
}
PLUMB_GPU_OP(place, plumb_place);
