/* Native gradient norm: one pass, f64 sums. Compiled once per instruction set, with equal bits
 * in all: squares of f32 are exact in f64 and the lanes of a sum are fixed here. */
#include <plumb/optim.h>

#include <math.h>

#include "kernels/gradnorm/gradnorm.h"
#include "kernels/op.h"

static double block_sum(const float *x, int64_t count)
{
    enum { LANES = PLUMB_GRADNORM_LANES };
    double lane[LANES] = { 0 };
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (int l = 0; l < LANES; l++)
            lane[l] += (double)x[i + l] * (double)x[i + l];
    for (int l = 0; i < count; i++, l++)
        lane[l] += (double)x[i] * (double)x[i];
    double sum = 0;
    for (int l = 0; l < LANES; l++)
        sum += lane[l];
    return sum;
}

static double merge(const double *sums, int64_t blocks)
{
    double lane[PLUMB_GRADNORM_MERGE] = { 0 }, sum = 0;
    for (int64_t b = 0; b < blocks; b++)
        lane[b % PLUMB_GRADNORM_MERGE] += sums[b];
    for (int l = 0; l < PLUMB_GRADNORM_MERGE; l++)
        sum += lane[l];
    return sum;
}

/* Squares of f32 cannot overflow f64, so a sum is finite exactly when all elements are. */
static int64_t first_bad(const float *x, const double *sums, int64_t count)
{
    int64_t b = 0;
    while (isfinite(sums[b]))
        b++;
    for (int64_t i = b * PLUMB_GRADNORM_BLOCK; i < count; i++)
        if (!isfinite(x[i])) return i;
    return -1;
}

int PLUMB_CPU_FN(plumb_gradnorm_cpu)(const struct plumb_gradnorm *a)
{
    const float *x = a->x.data;
    double *sums = a->work.data;
    const int64_t blocks = plumb_gradnorm_blocks(a->count);
#pragma omp parallel for schedule(static) if (blocks > 1)
    for (int64_t b = 0; b < blocks; b++) {
        const int64_t from = b * PLUMB_GRADNORM_BLOCK, left = a->count - from;
        sums[b] = block_sum(x + from, left < PLUMB_GRADNORM_BLOCK ? left : PLUMB_GRADNORM_BLOCK);
    }
    const double sum = merge(sums, blocks);
    *a->norm = sqrt(sum);
    if (a->first_bad) *a->first_bad = isfinite(sum) ? -1 : first_bad(x, sums, a->count);
    return PLUMB_OK;
}
