/* Native selections: digit by digit from the largest key down. Compiled once per instruction
 * set. */
#include "kernels/op.h"
#include "kernels/select/select_shell.h"

static bool counts(const int32_t *target, int64_t i) { return !target || target[i] >= 0; }

static void stage(const struct plumb_select *a, const struct plumb_select_options *o, int number,
                  struct plumb_select_state *s)
{
    const float *key = a->key.data;
    int64_t bin[PLUMB_SELECT_BINS] = { 0 }, orderly = 0, above = 0;
    for (int64_t i = 0; i < a->M; i++) {
        uint32_t value;
        if (!counts(a->target, i)) continue;
        if (number == 0) s->counted++, s->nan += key[i] != key[i];
        if (!plumb_select_match(o, number, s, key[i], i, &value)) continue;
        bin[plumb_select_digit(value, number)]++;
        orderly++;
    }
    if (number == 0) plumb_select_begin(o, orderly, s);
    if (s->none) return;
    int digit = PLUMB_SELECT_BINS - 1;
    while (above + bin[digit] < s->want)
        above += bin[digit--];
    plumb_select_settle(number, (uint32_t)digit, above, bin[digit], s);
}

static void find_next(const struct plumb_select *a, struct plumb_select_state *s)
{
    const float *key = a->key.data;
    for (int64_t i = 0; i < a->M; i++) {
        const uint32_t order = plumb_select_order(key[i]);
        if (counts(a->target, i) && order > s->key && order < s->next) s->next = order;
    }
}

int PLUMB_CPU_FN(plumb_select_cpu)(const struct plumb_select *a)
{
    const struct plumb_select_options o = plumb_select_options(a);
    const int stages = a->top ? PLUMB_SELECT_STAGES : PLUMB_SELECT_KEY_STAGES;
    const float *key = a->key.data, *weight = a->weight.data;
    float *out = a->out.data;
    struct plumb_select_state s = { 0 };
    for (int number = 0; number < stages && !plumb_select_settled(number, &s); number++)
        stage(a, &o, number, &s);
    if (!a->top && !s.none) find_next(a, &s);
    const double threshold = plumb_select_threshold(&o, &s);
    for (int64_t i = 0; i < a->M; i++)
        out[i] = counts(a->target, i)
                     ? plumb_select_out(&o, &s, threshold, key[i], i, weight ? weight[i] : 1)
                     : 0;
    if (a->count.data)
        *(float *)a->count.data = s.nan > 0 ? NAN : (float)plumb_select_count(&o, &s, threshold);
    return PLUMB_OK;
}

int PLUMB_CPU_FN(plumb_covariance_cpu)(const struct plumb_covariance *a)
{
    const struct plumb_covariance_options o = plumb_covariance_options(a);
    const float *logp = a->logp.data, *adv = a->advantage.data, *old = a->old_logp.data;
    float *key = a->key.data;
    double sum = 0, adv_sum = 0, n = 0;
    for (int64_t i = 0; i < a->M; i++)
        if (counts(a->target, i)) sum += (double)logp[i], adv_sum += (double)adv[i], n++;
    const double mean = n > 0 ? sum / n : 0, adv_mean = n > 0 ? adv_sum / n : 0;
    for (int64_t i = 0; i < a->M; i++) {
        const double product = ((double)adv[i] - adv_mean) * ((double)logp[i] - mean);
        key[i] = counts(a->target, i)
                     ? plumb_covariance_key(&o, plumb_saturate(product), adv[i],
                                            old ? plumb_finite(logp[i] - old[i]) : 0, i)
                     : -INFINITY;
    }
    return PLUMB_OK;
}
