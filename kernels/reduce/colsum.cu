/* Device code of column sums: a block adds up a strip of columns of 128 rows in f32, a second
 * kernel merges the blocks' rows in index order. */
#include <plumb/reduce.h>

#include "kernels/gpu.h"
#include "kernels/gpu_merge.h"
#include "kernels/reduce/reduce.h"

enum { BLOCK = 256, WARPS = BLOCK / 32 };

struct colsum_job {
    const void *x;
    float *part; /* a row of D sums for each block of rows */
    int64_t N, D, ldx;
    bool aligned;
};

/* A lane owns as many columns as 16 bytes hold: neighbours where they can be read at once, else 32
 * apart. Warp w adds rows w, w + 8, ...; then the warps' sums are added in their order. The padding
 * puts what lanes touch together into different banks. */
template <class T> __global__ void colsum_rows(struct colsum_job j)
{
    enum { WIDTH = plumb_vec<T>::n, STRIP = 32 * WIDTH, PAD = 32 + 32 / WIDTH };
    __shared__ float stage[WARPS][WIDTH][PAD];
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    const int64_t strip = (int64_t)blockIdx.y * STRIP,
                  row = (int64_t)blockIdx.x * PLUMB_COLSUM_ROWS;
    const int64_t left = j.N - row, rows = left < PLUMB_COLSUM_ROWS ? left : PLUMB_COLSUM_ROWS;
    const T *x = (const T *)j.x + row * j.ldx + strip;
    float sum[WIDTH] = {};
    if (j.aligned && strip + lane * WIDTH < j.D) {
        for (int64_t r = warp; r < rows; r += WARPS) {
            const plumb_vec<T> v = plumb_ldcs16(x + r * j.ldx + lane * WIDTH);
            PLUMB_UNROLL for (int i = 0; i < WIDTH; i++) sum[i] += plumb_wide(v.v[i]);
        }
    } else if (!j.aligned) {
        for (int64_t r = warp; r < rows; r += WARPS)
            PLUMB_UNROLL for (int i = 0; i < WIDTH; i++) if (strip + i * 32 + lane < j.D)
                sum[i] += plumb_wide(x[r * j.ldx + i * 32 + lane]);
    }
    PLUMB_UNROLL for (int i = 0; i < WIDTH; i++) stage[warp][i][lane] = sum[i];
    __syncthreads();
    for (int c = (int)threadIdx.x; c < STRIP && strip + c < j.D; c += BLOCK) {
        float total = 0;
        PLUMB_UNROLL for (int w = 0; w < WARPS; w++)
            total += j.aligned ? stage[w][c % WIDTH][c / WIDTH] : stage[w][c / 32][c % 32];
        j.part[blockIdx.x * j.D + strip + c] = total;
    }
}

template <class T>
static cudaError_t add_rows(const struct colsum_job *j, int64_t blocks, cudaStream_t s)
{
    const dim3 grid((unsigned)blocks, (unsigned)plumb_ceil_div(j->D, 32 * (int)plumb_vec<T>::n));
    return PLUMB_LAUNCH(colsum_rows<T>, grid, BLOCK, 0, s, *j);
}

static int colsum(const struct plumb_device *dev, const struct plumb_colsum *a)
{
    const cudaStream_t stream = plumb_gpu_stream(dev);
    const int64_t blocks = plumb_colsum_blocks(a->N), ldx = a->ldx ? a->ldx : a->D;
    const bool bf16 = a->x.dtype == PLUMB_BF16;
    const bool aligned = a->D % (bf16 ? 8 : 4) == 0 &&
                         (bf16 ? plumb_aligned16((const __nv_bfloat16 *)a->x.data, ldx)
                               : plumb_aligned16((const float *)a->x.data, ldx));
    const struct colsum_job j = { a->x.data, (float *)a->work.data, a->N, a->D, ldx, aligned };
    const cudaError_t e = bf16 ? add_rows<__nv_bfloat16>(&j, blocks, stream)
                               : add_rows<float>(&j, blocks, stream);
    if (e) return plumb_gpu_status(e, "colsum");
    const struct plumb_merge m = { j.part, blocks, a->D, a->D, { (float *)a->y.data, NULL } };
    return plumb_gpu_status(plumb_merge_launch(&m, stream), "colsum");
}
PLUMB_GPU_OP(colsum, plumb_colsum);
