/* Device entry of the matrix product: sums of nothing, and which code runs the others. */
#include "kernels/gpu.h"
#include "kernels/matmul/matmul_gpu.h"

enum { BLOCK = 256 };

struct matmul_empty_job {
    int64_t N, ldc;
    void *c;
    const void *bias;
    bool narrow_c, narrow_bias;
};

/* C = bias or zero. A block takes a row. */
static __global__ void matmul_empty(struct matmul_empty_job j)
{
    const int64_t at = blockIdx.x * j.ldc;
    for (int64_t n = threadIdx.x; n < j.N; n += BLOCK) {
        float x = 0.0f;
        if (j.bias)
            x = j.narrow_bias ? plumb_wide(((const __nv_bfloat16 *)j.bias)[n])
                              : ((const float *)j.bias)[n];
        if (j.narrow_c)
            plumb_narrow((__nv_bfloat16 *)j.c + at + n, x);
        else
            ((float *)j.c)[at + n] = x;
    }
}

static int without_sum(const struct plumb_device *dev, const struct plumb_matmul *a)
{
    if (a->accumulate) return PLUMB_OK;
    const struct matmul_empty_job j = {
        a->N, a->ldc, a->c.data, a->bias.data, a->c.dtype == PLUMB_BF16, a->bias.dtype == PLUMB_BF16
    };
    return plumb_gpu_status(
        PLUMB_LAUNCH(matmul_empty, (unsigned)a->M, BLOCK, 0, plumb_gpu_stream(dev), j), "matmul");
}

int plumb_gpu_matmul(const struct plumb_device *dev, const struct plumb_matmul *a,
                     const struct plumb_matmul *like)
{
    bool refused = a->batch_invariant; /* the library promises nothing about rows */
    if (a->M == 0 || a->N == 0) return PLUMB_OK;
    if (a->K == 0) return without_sum(dev, a);
    if (!refused) PLUMB_TRY(plumb_gpu_matmul_library(dev, a, like, &refused));
    return refused ? plumb_gpu_matmul_rows(dev, a) : PLUMB_OK;
}

static int matmul(const struct plumb_device *dev, const struct plumb_matmul *a)
{
    return plumb_gpu_matmul(dev, a, NULL);
}
PLUMB_GPU_OP(matmul, plumb_matmul);
