/* Oracles of moments and whitening: plain loops in f64, each step rounded to `round`. */
#include <plumb/whiten.h>

#include "kernels/whiten/moments.h"

void plumb_moments_ref(const struct plumb_moments *a, enum plumb_dtype round)
{
    const double *x = a->x.data;
    double sum = 0, squares = 0, count = 0, filled = 0;
    for (int64_t m = 0; m < a->M; m++) {
        if (a->counted && !a->counted[m]) continue;
        count++, filled += x[m] != 0;
        sum = plumb_dtype_round(round, sum + x[m]);
    }
    const double mean = count > 0 ? plumb_dtype_round(round, sum / count) : 0;
    for (int64_t m = 0; m < a->M; m++) {
        if (a->counted && !a->counted[m]) continue;
        const double far = plumb_dtype_round(round, x[m] - mean);
        squares = plumb_dtype_round(round, squares + far * far);
    }
    const double out[PLUMB_MOMENTS] = { count, mean, squares, filled };
    for (int k = 0; k < PLUMB_MOMENTS; k++)
        a->moments[k] = out[k];
}

void plumb_moments_merge_ref(const struct plumb_moments_merge *a, enum plumb_dtype round)
{
    const struct plumb_moment_set *parts = (const struct plumb_moment_set *)a->parts;
    struct plumb_moment_set sum = { 0 };
    for (int64_t k = 0; k < a->K; k++) {
        sum = plumb_moments_join(&sum, &parts[k]);
        sum.mean = plumb_dtype_round(round, sum.mean);
        sum.squares = plumb_dtype_round(round, sum.squares);
    }
    *(struct plumb_moment_set *)a->moments = sum;
}

void plumb_whiten_ref(const struct plumb_whiten *a, enum plumb_dtype round)
{
    const double *x = a->x.data;
    double *y = a->y.data;
    struct plumb_whiten_scale s = plumb_whiten_scale(a,
                                                     (const struct plumb_moment_set *)a->moments);
    s.mean = plumb_dtype_round(round, s.mean), s.shift = plumb_dtype_round(round, s.shift);
    s.factor = plumb_dtype_round(round, s.factor);
    for (int64_t m = 0; m < a->M; m++)
        y[m] = a->counted && !a->counted[m] ? 0
                                            : plumb_dtype_round(round, plumb_whitened(x[m], &s));
}
