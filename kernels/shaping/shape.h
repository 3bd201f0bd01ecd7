/* What oracle, native and device code of shaped rewards share. */
#pragma once
#include <plumb/shaping.h>

#include "kernels/scalar.h"

/* A response's reward without the divergence. */
PLUMB_HD double plumb_shape_total(const struct plumb_reward_shape *a, double score, bool finished,
                                  int64_t tokens)
{
    const double room = (double)(a->max_length - a->overlong_cache - tokens);
    double total = finished ? score : score - a->missing_eos_penalty;
    if (a->overlong_cache > 0 && room < 0)
        total += tokens > a->max_length ? -1 : room / (double)a->overlong_cache;
    return total;
}

/* The members of an ensemble that have a say: how many, their sum, the least, their mean and the
 * squares about it (Welford). */
struct plumb_mix_sums {
    double n, sum, least, mean, squares;
};

PLUMB_HD void plumb_mix_add(struct plumb_mix_sums *s, double own)
{
    const double step = own - s->mean;
    s->n += 1, s->sum += own;
    s->mean += step / s->n;
    s->squares += step * (own - s->mean);
    if (own < s->least) s->least = own;
}

PLUMB_HD double plumb_mixed(const struct plumb_reward_mix *a, const struct plumb_mix_sums *s)
{
    const double freedom = a->population ? s->n : s->n - 1;
    if (a->mix == PLUMB_MIX_SUM) return s->sum;
    if (s->n == 0) return (double)NAN;
    if (a->mix == PLUMB_MIX_LEAST) return s->least;
    if (a->mix == PLUMB_MIX_MEAN) return s->mean;
    return s->mean - (freedom > 0 ? a->caution * s->squares / freedom : 0);
}
