/* Native reductions: f64 sums of runs, f32 sums of columns in blocks. Compiled once per instruction
 * set. */
#include <plumb/reduce.h>

#include "kernels/op.h"
#include "kernels/reduce/reduce.h"
#include "kernels/simd.h"

enum { STRIP = 512 }; /* columns of a tile: its sums stay in the nearest cache */

int PLUMB_CPU_FN(plumb_segsum_fwd_cpu)(const struct plumb_segsum *a)
{
    const float *x = a->x.data, *w = a->weight.data;
    float *y = a->y.data;
    const double discount = plumb_segsum_discounts(a) ? a->discount : 1;
#pragma omp parallel for schedule(static) if (a->M > 65536)
    for (int64_t r = 0; r < a->R; r++) {
        const int64_t length = a->offset[r + 1] - a->offset[r];
        double sum = 0, weight = 1;
        for (int64_t i = a->offset[r]; i < a->offset[r + 1]; i++) {
            sum += weight * (w ? (double)w[i] * (double)x[i] : (double)x[i]);
            weight *= discount;
        }
        y[r] = (float)plumb_segsum_scaled(a, sum, length);
    }
    return PLUMB_OK;
}

int PLUMB_CPU_FN(plumb_segsum_bwd_cpu)(const struct plumb_segsum *a)
{
    const float *dy = a->dy.data, *w = a->weight.data;
    float *dx = a->dx.data;
    const double discount = plumb_segsum_discounts(a) ? a->discount : 1;
#pragma omp parallel for schedule(static) if (a->M > 65536)
    for (int64_t r = 0; r < a->R; r++) {
        const int64_t length = a->offset[r + 1] - a->offset[r];
        double g = plumb_segsum_scaled(a, (double)dy[r], length); /* empty runs write nothing */
        for (int64_t i = a->offset[r]; i < a->offset[r + 1]; i++) {
            dx[i] = (float)(w ? g * (double)w[i] : g);
            g *= discount;
        }
    }
    return PLUMB_OK;
}

/* sum[0 .. width) = column sums of `rows` rows; bf16 is a constant after inlining. */
static inline __attribute__((always_inline)) void tile(const struct plumb_colsum *a, float *sum,
                                                       int64_t at, int64_t ldx, int64_t rows,
                                                       int64_t width, bool bf16)
{
    const void *x = a->x.data;
    for (int64_t d = 0; d < width; d++)
        sum[d] = 0;
    for (int64_t n = 0; n < rows; n++) {
#pragma omp simd
        for (int64_t d = 0; d < width; d++)
            sum[d] += plumb_load(x, bf16, at + n * ldx + d);
    }
}

int PLUMB_CPU_FN(plumb_colsum_cpu)(const struct plumb_colsum *a)
{
    const int64_t D = a->D, ldx = a->ldx ? a->ldx : D, blocks = plumb_colsum_blocks(a->N);
    const int64_t strips = (D + STRIP - 1) / STRIP;
    float *part = a->work.data, *y = a->y.data;
#pragma omp parallel for schedule(static) if (a->N * D > 65536)
    for (int64_t t = 0; t < blocks * strips; t++) {
        const int64_t n = t / strips * PLUMB_COLSUM_ROWS, d = t % strips * STRIP;
        const int64_t rows = a->N - n < PLUMB_COLSUM_ROWS ? a->N - n : PLUMB_COLSUM_ROWS;
        const int64_t width = D - d < STRIP ? D - d : STRIP;
        float *sum = part + t / strips * D + d;
        if (a->x.dtype == PLUMB_BF16)
            tile(a, sum, n * ldx + d, ldx, rows, width, true);
        else
            tile(a, sum, n * ldx + d, ldx, rows, width, false);
    }
#pragma omp parallel for schedule(static) if (blocks * D > 65536)
    for (int64_t d = 0; d < D; d++) {
        double sum = 0;
        for (int64_t b = 0; b < blocks; b++)
            sum += (double)part[b * D + d];
        y[d] = (float)((double)y[d] + sum);
    }
    return PLUMB_OK;
}
