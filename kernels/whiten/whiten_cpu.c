/* Native moments and whitening: f64 within fixed chunks, which are joined in order. Compiled once
 * per instruction set. */
#include "kernels/op.h"
#include "kernels/whiten/moments.h"

static bool counts(const int32_t *counted, int64_t m) { return !counted || counted[m] != 0; }

static struct plumb_moment_set chunk_of(const struct plumb_moments *a, int64_t first, int64_t end)
{
    const float *x = a->x.data;
    struct plumb_moment_set s = { 0 };
    double sum = 0;
    for (int64_t m = first; m < end; m++) {
        if (!counts(a->counted, m)) continue;
        s.count++, s.filled += x[m] != 0;
        sum += (double)x[m];
    }
    if (s.count > 0) s.mean = sum / s.count;
    for (int64_t m = first; m < end; m++) {
        const double far = counts(a->counted, m) ? (double)x[m] - s.mean : 0;
        s.squares += far * far;
    }
    return s;
}

int PLUMB_CPU_FN(plumb_moments_cpu)(const struct plumb_moments *a)
{
    struct plumb_moment_set *part = a->work.data, sum = { 0 };
    const int64_t chunks = (a->M + PLUMB_MOMENTS_CHUNK - 1) / PLUMB_MOMENTS_CHUNK;
#pragma omp parallel for schedule(static) if (plumb_worth_threads(chunks, PLUMB_MOMENTS_CHUNK))
    for (int64_t c = 0; c < chunks; c++) {
        const int64_t first = c * PLUMB_MOMENTS_CHUNK, end = first + PLUMB_MOMENTS_CHUNK;
        part[c] = chunk_of(a, first, end < a->M ? end : a->M);
    }
    for (int64_t c = 0; c < chunks; c++)
        sum = plumb_moments_join(&sum, &part[c]);
    *(struct plumb_moment_set *)a->moments = sum;
    return PLUMB_OK;
}

int PLUMB_CPU_FN(plumb_whiten_cpu)(const struct plumb_whiten *a)
{
    const struct plumb_whiten_scale s = plumb_whiten_scale(
        a, (const struct plumb_moment_set *)a->moments);
    const float *x = a->x.data;
    float *y = a->y.data;
#pragma omp parallel for schedule(static) if (a->M > 16384)
    for (int64_t m = 0; m < a->M; m++)
        y[m] = counts(a->counted, m) ? plumb_saturate(plumb_whitened((double)x[m], &s)) : 0;
    return PLUMB_OK;
}
