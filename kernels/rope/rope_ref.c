/* Oracle of the rotary positions: plain loops in f64, each intermediate rounded to `round`. */
#include <plumb/rope.h>

static void turn(double *y, const double *x, int64_t i, int64_t j, double c, double s,
                 enum plumb_dtype round)
{
    const double u = x[i], v = x[j];
    const double uc = plumb_dtype_round(round, u * c), vs = plumb_dtype_round(round, v * s);
    const double vc = plumb_dtype_round(round, v * c), us = plumb_dtype_round(round, u * s);
    y[i] = plumb_dtype_round(round, uc - vs);
    y[j] = plumb_dtype_round(round, vc + us);
}

void plumb_rope_ref(const struct plumb_rope *a, enum plumb_dtype round)
{
    const int64_t half = a->R / 2, ld = a->ld ? a->ld : a->H * a->K;
    const double *cosines = a->cos.data, *sines = a->sin.data;
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < a->N; n++) {
        const double *c = cosines + a->position[n] * half, *s = sines + a->position[n] * half;
        for (int64_t h = 0; h < a->H; h++) {
            const double *x = (const double *)a->x.data + n * ld + h * a->K;
            double *y = (double *)a->y.data + n * ld + h * a->K;
            for (int64_t i = 0; i < half; i++) {
                const int64_t first = a->kind == PLUMB_ROPE_HALF ? i : 2 * i;
                const int64_t second = a->kind == PLUMB_ROPE_HALF ? i + half : 2 * i + 1;
                turn(y, x, first, second, c[i], a->inverse ? -s[i] : s[i], round);
            }
            for (int64_t i = a->R; i < a->K; i++)
                y[i] = x[i];
        }
    }
}
