/* Oracle of the MLP's activation: plain loops in f64, each intermediate rounded to `round`. */
#include <plumb/glu.h>

#include <math.h>

struct act {
    double value, slope;
};

static double cdf(double x) { return 0.5 * erfc(-x * 0.70710678118654752440); }

/* act(x) and its derivative, in f64; the caller rounds. */
static struct act activate(enum plumb_act_kind kind, double x)
{
    struct act r;
    if (kind == PLUMB_ACT_SWIGLU) {
        const double s = 1 / (1 + exp(-x));
        r = (struct act){ x * s, s * (1 + x * (1 - s)) };
    } else if (kind == PLUMB_ACT_GEGLU_ERF || kind == PLUMB_ACT_GELU_ERF) {
        const double density = exp(-0.5 * x * x) * 0.39894228040143267794;
        r = (struct act){ x * cdf(x), cdf(x) + x * density };
    } else {
        const double c = 0.79788456080286535588, k = 0.044715;
        const double t = tanh(c * (x + k * x * x * x));
        r = (struct act){ 0.5 * x * (1 + t),
                          0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * k * x * x) };
    }
    return r;
}

void plumb_glu_fwd_ref(const struct plumb_glu *a, enum plumb_dtype round)
{
    const double *x = a->x.data;
    double *y = a->y.data;
    const bool gated = plumb_act_is_gated(a->kind);
    const int64_t F = a->F, ld = gated ? 2 * F : F;
    for (int64_t n = 0; n < a->N; n++)
        for (int64_t f = 0; f < F; f++) {
            const double act = plumb_dtype_round(round, activate(a->kind, x[n * ld + f]).value);
            y[n * F + f] = gated ? plumb_dtype_round(round, act * x[n * ld + F + f]) : act;
        }
}

void plumb_glu_bwd_ref(const struct plumb_glu *a, enum plumb_dtype round)
{
    const double *x = a->x.data, *dy = a->dy.data;
    double *dx = a->dx.data;
    const bool gated = plumb_act_is_gated(a->kind);
    const int64_t F = a->F, ld = gated ? 2 * F : F;
    for (int64_t n = 0; n < a->N; n++)
        for (int64_t f = 0; f < F; f++) {
            const struct act r = activate(a->kind, x[n * ld + f]);
            const double value = plumb_dtype_round(round, r.value),
                         slope = plumb_dtype_round(round, r.slope);
            const double up = gated ? x[n * ld + F + f] : 1, g = dy[n * F + f];
            dx[n * ld + f] = plumb_dtype_round(round, plumb_dtype_round(round, g * up) * slope);
            if (gated) dx[n * ld + F + f] = plumb_dtype_round(round, g * value);
        }
}
