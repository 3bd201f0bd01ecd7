/* Oracles of the reductions: plain loops in f64, each sum rounded to `round`. */
#include <plumb/reduce.h>

#include "kernels/reduce/reduce.h"

/* Of element i, the t-th of its run. */
static double weight_at(const struct plumb_segsum *a, int64_t i, int64_t t, enum plumb_dtype round)
{
    const double w = a->weight.data ? ((const double *)a->weight.data)[i] : 1;
    const bool discounts = plumb_segsum_discounts(a);
    return discounts ? plumb_dtype_round(round, w * pow(a->discount, (double)t)) : w;
}

void plumb_segsum_fwd_ref(const struct plumb_segsum *a, enum plumb_dtype round)
{
    const double *x = a->x.data;
    double *y = a->y.data;
    for (int64_t r = 0; r < a->R; r++) {
        const int64_t length = a->offset[r + 1] - a->offset[r];
        double sum = 0;
        for (int64_t i = a->offset[r]; i < a->offset[r + 1]; i++)
            sum = plumb_dtype_round(round, sum + weight_at(a, i, i - a->offset[r], round) * x[i]);
        y[r] = plumb_dtype_round(round, plumb_segsum_scaled(a, sum, length));
    }
}

void plumb_segsum_bwd_ref(const struct plumb_segsum *a, enum plumb_dtype round)
{
    const double *dy = a->dy.data;
    double *dx = a->dx.data;
    for (int64_t r = 0; r < a->R; r++) {
        const int64_t length = a->offset[r + 1] - a->offset[r];
        for (int64_t i = a->offset[r]; i < a->offset[r + 1]; i++)
            dx[i] = plumb_dtype_round(round, weight_at(a, i, i - a->offset[r], round) *
                                                 plumb_segsum_scaled(a, dy[r], length));
    }
}

void plumb_colsum_ref(const struct plumb_colsum *a, enum plumb_dtype round)
{
    const double *x = a->x.data;
    double *y = a->y.data;
    const int64_t ldx = a->ldx ? a->ldx : a->D;
    for (int64_t d = 0; d < a->D; d++) {
        double sum = 0;
        for (int64_t n = 0; n < a->N; n++)
            sum = plumb_dtype_round(round, sum + x[n * ldx + d]);
        y[d] = plumb_dtype_round(round, y[d] + sum);
    }
}
