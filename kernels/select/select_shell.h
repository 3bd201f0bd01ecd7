/* What a selection writes for a token, and the keys of a covariance: what the native code and the
 * device's share. */
#pragma once
#include <plumb/select.h>

#include "kernels/select/select_key.h"

static inline struct plumb_select_options plumb_select_options(const struct plumb_select *a)
{
    const struct plumb_select_options o = { a->M, a->top, a->drop, a->quantile, a->share };
    return o;
}

PLUMB_HD float plumb_select_out(const struct plumb_select_options *o,
                                const struct plumb_select_state *s, double threshold, float key,
                                int64_t i, float weight)
{
    if (s->nan > 0) return NAN;
    return plumb_select_takes(o, s, threshold, key, i) != o->drop ? weight : 0;
}

struct plumb_covariance_options { /* by value to a kernel */
    bool random;
    float low, high, ratio_low, ratio_high;
    struct plumb_rng_key rng;
};

static inline struct plumb_covariance_options plumb_covariance_options(
    const struct plumb_covariance *a)
{
    const bool clips = a->old_logp.data != NULL;
    const struct plumb_covariance_options o = { a->random,
                                                (float)a->low,
                                                (float)a->high,
                                                clips ? (float)a->ratio_low : 0,
                                                clips ? (float)a->ratio_high : INFINITY,
                                                { a->seed, PLUMB_RNG_SUBSET, a->step } };
    return o;
}

/* Whether a clip ends the token's ratio, as in the formula clip of policy.def. */
PLUMB_HD bool plumb_covariance_clipped(plumb_real a, plumb_real lr, plumb_real low, plumb_real high)
{
    const plumb_real rho = plumb_exp(lr);
    return (a > 0 && rho > high) || (a < 0 && rho < low);
}

/* The key of token i; `covariance` is its own, lr its log-ratio. */
PLUMB_HD float plumb_covariance_key(const struct plumb_covariance_options *o, float covariance,
                                    float a, float lr, int64_t i)
{
    if (!o->random || covariance != covariance) return covariance;
    const bool inside = covariance > o->low && covariance < o->high;
    if (!inside || plumb_covariance_clipped(a, lr, o->ratio_low, o->ratio_high)) return -INFINITY;
    return (float)plumb_philox_word(&o->rng, (uint64_t)i);
}
