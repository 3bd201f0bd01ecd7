/* Oracle of the correction weights: plain loops in f64; for a yardstick log-ratios, sums and
 * weights are rounded. */
#define PLUMB_REAL_F64
#include "kernels/correction/correction_token.h"

struct sums {
    double tokens, known, lr, abs, most_abs, sum, least, most, out;
};

static double at(const struct plumb_tensor *t, int64_t i, double absent)
{
    return t->data ? ((const double *)t->data)[i] : absent;
}

static bool counts(const struct plumb_correction *a, int64_t t)
{
    return !a->target || a->target[t] >= 0;
}

static double sampler(const struct plumb_correction *a, int64_t t)
{
    const double lp = at(&a->sampler_logp, t, 0);
    return isnan(lp) ? at(&a->logp, t, 0) : lp;
}

static double log_ratio(const struct plumb_correction *a, enum plumb_dtype round, int64_t t)
{
    return plumb_dtype_round(round, at(&a->logp, t, 0) - sampler(a, t));
}

/* Whether [first, last) is outside as a unit; *ratio is its own. */
static bool outside(const struct plumb_correction *a, enum plumb_dtype round, int64_t b,
                    int64_t first, int64_t last, double *ratio)
{
    double lr = 0, statistic = 0, n = 0;
    for (int64_t t = first; t < last; t++) {
        if (!counts(a, t)) continue;
        const double s = plumb_correction_statistic((int)a->gate, at(&a->logp, t, 0),
                                                    sampler(a, t));
        lr = plumb_dtype_round(round, lr + log_ratio(a, round, t));
        statistic = plumb_dtype_round(round, statistic + plumb_dtype_round(round, s));
        n++;
    }
    if (a->level != PLUMB_CORRECT_ROW_MEANS || n == 0) n = 1;
    *ratio = plumb_dtype_round(round, exp(plumb_dtype_round(round, lr / n)));
    const double s = a->gate == PLUMB_GATE_RATIO ? *ratio : plumb_dtype_round(round, statistic / n);
    return (s < a->low || s > a->high) && at(&a->advantage, b, -1) < 0;
}

static double weight(const struct plumb_correction *a, enum plumb_dtype round, int64_t t,
                     double ratio, bool out)
{
    if (a->clip) return !out ? ratio : ratio < a->low ? a->low : a->high;
    if (out) return 0;
    if (a->keep == PLUMB_KEEP_UNIT_RATIO) return ratio;
    if (a->keep == PLUMB_KEEP_TOKEN_RATIO)
        return plumb_dtype_round(round, exp(log_ratio(a, round, t)));
    return isnan(ratio) ? ratio : 1;
}

static void report(const struct plumb_correction *a, int64_t b, const struct sums *s, bool out,
                   double empty)
{
    double *stats = a->stats.data ? (double *)a->stats.data + b * PLUMB_CORRECTION_STATS : NULL;
    if (!stats) return;
    stats[PLUMB_CORRECTION_KNOWN] = s->known;
    stats[PLUMB_CORRECTION_OUT] = a->level == PLUMB_CORRECT_TOKENS ? s->out : out;
    stats[PLUMB_CORRECTION_LOG_RATIO] = s->lr;
    stats[PLUMB_CORRECTION_ABS_SUM] = s->abs;
    stats[PLUMB_CORRECTION_ABS_MAX] = s->most_abs;
    stats[PLUMB_CORRECTION_WEIGHT_SUM] = s->sum;
    stats[PLUMB_CORRECTION_WEIGHT_MIN] = s->tokens > 0 ? s->least : empty;
    stats[PLUMB_CORRECTION_WEIGHT_MAX] = s->tokens > 0 ? s->most : empty;
}

static void one_row(const struct plumb_correction *a, enum plumb_dtype round, int64_t b)
{
    struct sums s = { .least = INFINITY, .most = -INFINITY };
    const bool own = a->level == PLUMB_CORRECT_TOKENS;
    const int64_t first = a->offset[b], last = a->offset[b + 1];
    double ratio, *to = a->out.data;
    bool out = outside(a, round, b, first, last, &ratio);
    for (int64_t t = first; t < last; t++) {
        const double given = at(&a->weight, t, 1);
        to[t] = given;
        if (!counts(a, t)) continue;
        if (own) out = outside(a, round, b, t, t + 1, &ratio);
        const double w = weight(a, round, t, ratio, out), lr = log_ratio(a, round, t);
        to[t] = plumb_dtype_round(round, given * w);
        s.tokens++, s.out += out, s.known += !isnan(at(&a->sampler_logp, t, 0));
        s.lr = plumb_dtype_round(round, s.lr + lr);
        s.abs = plumb_dtype_round(round, s.abs + fabs(lr));
        s.sum = plumb_dtype_round(round, s.sum + w);
        s.most_abs = fmax(s.most_abs, fabs(lr));
        s.least = fmin(s.least, w), s.most = fmax(s.most, w);
    }
    const bool by_token = !a->clip && a->keep == PLUMB_KEEP_TOKEN_RATIO;
    report(a, b, &s, out, own ? 0 : by_token ? !out : weight(a, round, first, ratio, out));
}

void plumb_correction_ref(const struct plumb_correction *a, enum plumb_dtype round)
{
#pragma omp parallel for schedule(static)
    for (int64_t b = 0; b < a->B; b++)
        one_row(a, round, b);
}
