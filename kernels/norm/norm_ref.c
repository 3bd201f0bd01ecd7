/* Oracle of the norms: plain loops in f64. Elements are rounded to `round`, statistics and sums
 * over rows to f32 (to nothing when round is f64), as every low-precision implementation keeps
 * them. */
#include <plumb/norm.h>

#include <math.h>

static inline double in(enum plumb_dtype t, double x)
{
    return t == PLUMB_F64 ? x : plumb_dtype_round(t, x);
}
static inline enum plumb_dtype statistic(enum plumb_dtype round)
{
    return round == PLUMB_F64 ? PLUMB_F64 : PLUMB_F32;
}

static void forward_group(const struct plumb_norm *a, enum plumb_dtype r, int64_t n, int64_t g)
{
    const enum plumb_dtype f = statistic(r);
    const int64_t D = a->D, row = a->G * D;
    const int64_t xat = n * (a->ldx ? a->ldx : row) + g * D,
                  yat = n * (a->ldy ? a->ldy : row) + g * D, flat = n * row + g * D;
    const double *x = (const double *)a->x.data + xat, *w = a->w.data, *b = a->b.data, *s = x;
    double *y = (double *)a->y.data + yat, *sum = (double *)a->sum.data + flat, mean = 0,
           squares = 0;
    if (a->delta.data) {
        for (int64_t d = 0; d < D; d++)
            sum[d] = in(r, x[d] + ((const double *)a->delta.data)[flat + d]);
        s = sum;
    }
    if (a->kind == PLUMB_NORM_LAYER) {
        for (int64_t d = 0; d < D; d++)
            mean = in(f, mean + s[d]);
        mean = in(f, mean / (double)D);
    }
    for (int64_t d = 0; d < D; d++) {
        const double c = in(f, s[d] - mean);
        squares = in(f, squares + in(f, c * c));
    }
    const double rstd = in(f, 1 / in(f, sqrt(in(f, in(f, squares / (double)D) + a->eps))));
    for (int64_t d = 0; d < D; d++) {
        const double xhat = in(r, in(r, s[d] - mean) * rstd),
                     scaled = in(r, xhat * in(r, w[d] + a->offset));
        y[d] = b ? in(r, scaled + b[d]) : scaled;
    }
    if (a->rstd.data) ((double *)a->rstd.data)[n * a->G + g] = rstd;
    if (a->mean.data) ((double *)a->mean.data)[n * a->G + g] = mean;
}

void plumb_norm_fwd_ref(const struct plumb_norm *a, enum plumb_dtype round)
{
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < a->N; n++)
        for (int64_t g = 0; g < a->G; g++)
            forward_group(a, round, n, g);
}

/* dw and db of the columns [first, last): every column sums its rows in index order. Before dx,
 * which may replace dy. */
static void weight_gradients(const struct plumb_norm *a, enum plumb_dtype r, int64_t first,
                             int64_t last)
{
    const enum plumb_dtype f = statistic(r);
    const int64_t D = a->D, row = a->G * D, ldx = a->ldx ? a->ldx : row,
                  ldy = a->ldy ? a->ldy : row;
    double *dw = a->dw.data, *db = a->db.data;
    for (int64_t i = 0; i < a->N * a->G; i++) {
        const int64_t n = i / a->G, g = i % a->G;
        const double *x = (const double *)a->x.data + n * ldx + g * D,
                     *dy = (const double *)a->dy.data + n * ldy + g * D;
        const double rstd = ((const double *)a->rstd.data)[i],
                     mean = a->mean.data ? ((const double *)a->mean.data)[i] : 0;
        for (int64_t d = first; d < last; d++) {
            if (dw) dw[d] = in(f, dw[d] + in(r, dy[d] * in(r, in(r, x[d] - mean) * rstd)));
            if (db) db[d] = in(f, db[d] + dy[d]);
        }
    }
}

static void backward_group(const struct plumb_norm *a, enum plumb_dtype r, int64_t n, int64_t g)
{
    const enum plumb_dtype f = statistic(r);
    const int64_t D = a->D, row = a->G * D, ldx = a->ldx ? a->ldx : row,
                  ldy = a->ldy ? a->ldy : row;
    const double *x = (const double *)a->x.data + n * ldx + g * D,
                 *dy = (const double *)a->dy.data + n * ldy + g * D;
    const double *dsum = a->dsum.data ? (const double *)a->dsum.data + n * row + g * D : NULL,
                 *w = a->w.data;
    double *dx = (double *)a->dx.data + n * ldx + g * D, sum = 0, dot = 0;
    const double rstd = ((const double *)a->rstd.data)[n * a->G + g];
    const double mean = a->mean.data ? ((const double *)a->mean.data)[n * a->G + g] : 0;
    for (int64_t d = 0; d < D; d++) {
        const double xhat = in(r, in(r, x[d] - mean) * rstd),
                     grad = in(r, dy[d] * in(r, w[d] + a->offset));
        dot = in(f, dot + in(f, grad * xhat));
        if (a->kind == PLUMB_NORM_LAYER) sum = in(f, sum + grad);
    }
    sum = in(f, sum / (double)D), dot = in(f, dot / (double)D);
    for (int64_t d = 0; d < D; d++) {
        const double xhat = in(r, in(r, x[d] - mean) * rstd),
                     grad = in(r, dy[d] * in(r, w[d] + a->offset));
        const double own = in(r, rstd * in(r, in(r, grad - sum) - in(r, xhat * dot)));
        dx[d] = dsum ? in(r, own + dsum[d]) : own;
    }
}

void plumb_norm_bwd_ref(const struct plumb_norm *a, enum plumb_dtype round)
{
    enum { COLUMNS = 16 };
    if (a->dw.data || a->db.data) {
#pragma omp parallel for schedule(static)
        for (int64_t d = 0; d < a->D; d += COLUMNS)
            weight_gradients(a, round, d, d + COLUMNS < a->D ? d + COLUMNS : a->D);
    }
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < a->N; n++)
        for (int64_t g = 0; g < a->G; g++)
            backward_group(a, round, n, g);
}
