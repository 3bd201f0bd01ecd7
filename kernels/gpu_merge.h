/* The second half of every sum over rows: adds partial rows to a vector in index order, in f64, and
 * rounds once. */
#pragma once
#include "kernels/gpu.h"

enum { PLUMB_MERGE_COLUMNS = 32, PLUMB_MERGE_SLICES = 16 };

/* Partial row r lies `stride` after its predecessor and holds D columns for each of one or two
 * vectors. */
struct plumb_merge {
    const float *part;
    int64_t rows, stride, D;
    float *out[2]; /* +=; NULL = not wanted */
};

/* A block owns 32 columns of one vector; its warps take slices of the rows, merged in order. */
static __global__ void plumb_merge_rows(struct plumb_merge m)
{
    __shared__ double slice[PLUMB_MERGE_SLICES][PLUMB_MERGE_COLUMNS];
    float *out = blockIdx.y ? m.out[1] : m.out[0];
    if (!out) return;
    const int64_t d = (int64_t)blockIdx.x * PLUMB_MERGE_COLUMNS + threadIdx.x;
    const int64_t per = (m.rows + PLUMB_MERGE_SLICES - 1) / PLUMB_MERGE_SLICES;
    const int64_t first = threadIdx.y * per, end = first + per < m.rows ? first + per : m.rows;
    const float *part = m.part + blockIdx.y * m.D + d;
    double sum = 0;
    if (d < m.D)
        for (int64_t r = first; r < end; r++)
            sum += (double)part[r * m.stride];
    slice[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y > 0 || d >= m.D) return;
    double total = 0;
    for (int k = 0; k < PLUMB_MERGE_SLICES; k++)
        total += slice[k][threadIdx.x];
    out[d] = (float)((double)out[d] + total);
}

static inline cudaError_t plumb_merge_launch(const struct plumb_merge *m, cudaStream_t stream)
{
    const dim3 grid((unsigned)plumb_ceil_div(m->D, PLUMB_MERGE_COLUMNS), m->out[1] ? 2 : 1);
    const dim3 block(PLUMB_MERGE_COLUMNS, PLUMB_MERGE_SLICES);
    return PLUMB_LAUNCH(plumb_merge_rows, grid, block, 0, stream, *m);
}
