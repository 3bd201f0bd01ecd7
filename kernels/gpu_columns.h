/* Adds the rows of a chunk's dz to the gradient of a bias. */
#pragma once
#include "kernels/gpu.h"

enum { PLUMB_COLUMN_WARPS = 8 };

/* A block sums 32 columns; its warps take equal runs of rows, in order, and their sums are added in
 * order. */
template <class T>
__global__ void __launch_bounds__(32 * PLUMB_COLUMN_WARPS)
    plumb_sum_columns(float *sums, const T *dz, int64_t stride, int64_t rows, int64_t columns)
{
    __shared__ float part[PLUMB_COLUMN_WARPS][32];
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    const int64_t v = (int64_t)blockIdx.x * 32 + lane;
    const int64_t run = (rows + PLUMB_COLUMN_WARPS - 1) / PLUMB_COLUMN_WARPS;
    const int64_t end = (warp + 1) * run < rows ? (warp + 1) * run : rows;
    float sum = 0;
    for (int64_t r = warp * run; r < end && v < columns; r++)
        sum += plumb_wide(dz[r * stride + v]);
    part[warp][lane] = sum;
    __syncthreads();
    if (warp || v >= columns) return;
    for (int w = 1; w < PLUMB_COLUMN_WARPS; w++)
        sum += part[w][lane];
    sums[v] += sum;
}
