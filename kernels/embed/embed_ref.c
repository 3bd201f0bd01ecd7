/* Oracle of the embedding: plain loops in f64, elements rounded to `round`, gradient sums to f32
 * (f64 stays f64). */
#include <plumb/embed.h>

static inline double in(enum plumb_dtype t, double x)
{
    return t == PLUMB_F64 ? x : plumb_dtype_round(t, x);
}

void plumb_embed_fwd_ref(const struct plumb_embed *a, enum plumb_dtype round)
{
    const double *w = a->w.data, *p = a->wpos.data;
    double *y = a->y.data;
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < a->N; n++)
        for (int64_t d = 0; d < a->D; d++) {
            const double e = in(round, a->scale * w[a->token[n] * a->D + d]);
            y[n * a->D + d] = a->P > 0 ? in(round, e + p[a->position[n] * a->D + d]) : e;
        }
}

void plumb_embed_bwd_ref(const struct plumb_embed *a, enum plumb_dtype round)
{
    const enum plumb_dtype sum = round == PLUMB_F64 ? PLUMB_F64 : PLUMB_F32;
    const double *dy = a->dy.data;
    double *dw = a->dw.data, *dp = a->dwpos.data;
#pragma omp parallel for schedule(static)
    for (int64_t d = 0; d < a->D; d++)
        for (int64_t n = 0; n < a->N; n++) {
            double *to = dw + a->token[n] * a->D + d;
            *to = in(sum, *to + in(round, a->scale * dy[n * a->D + d]));
            if (a->P == 0) continue;
            to = dp + a->position[n] * a->D + d;
            *to = in(sum, *to + dy[n * a->D + d]);
        }
}
