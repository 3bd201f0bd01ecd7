/* Oracle of the selections: sorted keys in f64. Ranks are exact, so that a yardstick differs in the
 * covariances alone. */
#define PLUMB_REAL_F64
#include "kernels/select/select_shell.h"

#include <stdlib.h>

static bool counts(const int32_t *target, int64_t i) { return !target || target[i] >= 0; }

static int ascending(const void *x, const void *y)
{
    const double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

/* Keys that count, smallest first; by share only those that may be selected. *nan: one is none. */
static int64_t sorted(const struct plumb_select *a, double *list, int64_t *counted, bool *nan)
{
    const double *key = a->key.data;
    int64_t n = 0;
    *counted = 0, *nan = false;
    for (int64_t i = 0; i < a->M; i++) {
        if (!counts(a->target, i)) continue;
        ++*counted;
        *nan |= isnan(key[i]);
        if (!a->top || key[i] > -INFINITY) list[n++] = key[i];
    }
    if (!*nan && n > 0) qsort(list, (size_t)n, sizeof *list, ascending);
    return n;
}

static double quantile(const struct plumb_select *a, const double *list, int64_t n)
{
    const double rank = a->quantile * (double)(n - 1);
    const int64_t below = (int64_t)rank, next = below + 1 < n ? below + 1 : below;
    if (rank == (double)below) return list[below];
    const double from = fmax(list[below], -DBL_MAX), to = fmin(list[next], DBL_MAX);
    return list[below] == list[next] ? list[below] : from + (rank - (double)below) * (to - from);
}

void plumb_select_ref(const struct plumb_select *a, enum plumb_dtype round)
{
    (void)round;
    const double *key = a->key.data, *weight = a->weight.data;
    double *list = a->work.data, *out = a->out.data, selected = 0;
    int64_t counted, ties = 0;
    bool nan;
    const int64_t n = sorted(a, list, &counted, &nan);
    const int64_t share = (int64_t)(a->share * (double)counted);
    int64_t most = share > 1 ? share : 1;
    if (most > n) most = n;
    double least = INFINITY; /* of the keys to be selected */
    if (!nan && n > 0) least = a->top ? list[n - most] : quantile(a, list, n);
    for (int64_t i = n - most; a->top && !nan && i < n; i++)
        ties += list[i] == least; /* of those that equal it, so many */
    for (int64_t i = 0; i < a->M; i++) {
        out[i] = 0;
        if (!counts(a->target, i)) continue;
        bool take = n > 0 && key[i] >= least;
        if (take && a->top && key[i] == least) take = ties-- > 0;
        selected += take;
        out[i] = nan ? NAN : take == a->drop ? 0 : weight ? weight[i] : 1;
    }
    if (a->count.data) *(double *)a->count.data = nan ? NAN : selected;
}

void plumb_covariance_ref(const struct plumb_covariance *a, enum plumb_dtype round)
{
    const double *logp = a->logp.data, *adv = a->advantage.data, *old = a->old_logp.data;
    const struct plumb_rng_key rng = { a->seed, PLUMB_RNG_SUBSET, a->step };
    double *key = a->key.data, sum = 0, adv_sum = 0, n = 0;
    for (int64_t i = 0; i < a->M; i++) {
        if (!counts(a->target, i)) continue;
        sum = plumb_dtype_round(round, sum + logp[i]);
        adv_sum = plumb_dtype_round(round, adv_sum + adv[i]);
        n++;
    }
    const double mean = n > 0 ? plumb_dtype_round(round, sum / n) : 0;
    const double adv_mean = n > 0 ? plumb_dtype_round(round, adv_sum / n) : 0;
    for (int64_t i = 0; i < a->M; i++) {
        const double da = plumb_dtype_round(round, adv[i] - adv_mean);
        const double dl = plumb_dtype_round(round, logp[i] - mean);
        const double lr = old ? logp[i] - old[i] : 0;
        key[i] = counts(a->target, i) ? plumb_dtype_round(round, da * dl) : -INFINITY;
        if (!a->random || !counts(a->target, i) || isnan(key[i])) continue;
        const bool inside = key[i] > a->low && key[i] < a->high;
        const bool out = old && plumb_covariance_clipped(adv[i], lr, a->ratio_low, a->ratio_high);
        key[i] = inside && !out ? (double)(float)plumb_philox_word(&rng, (uint64_t)i) : -INFINITY;
    }
}
