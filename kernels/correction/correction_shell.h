/* A token's weight from its unit's statistic, f32: what the native code and the device's share. */
#pragma once
#include "kernels/correction/correction_token.h"

struct plumb_correction_options { /* by value to a kernel */
    int level, gate, keep;
    bool clip;
    float low, high;
};

static inline struct plumb_correction_options plumb_correction_options(
    const struct plumb_correction *a)
{
    const struct plumb_correction_options o = { (int)a->level, (int)a->gate,  (int)a->keep,
                                                a->clip,       (float)a->low, (float)a->high };
    return o;
}

/* The sampler's log-prob, or what stands for one that it has not given. */
PLUMB_HD float plumb_correction_sampler(float logp, float sampler)
{
    return sampler == sampler ? sampler : logp;
}

struct plumb_correction_unit {
    float ratio;   /* q / p */
    float clipped; /* the same, within the band */
    bool out;
};

/* The unit from the sums of its tokens' log-ratios and statistics over `tokens`. */
PLUMB_HD struct plumb_correction_unit plumb_correction_unit_of(
    const struct plumb_correction_options *o, double lr, double statistic, double tokens,
    bool may_be_out)
{
    const double n = o->level == PLUMB_CORRECT_ROW_MEANS && tokens > 1 ? tokens : 1;
    const float ratio = plumb_finite(plumb_exp(plumb_saturate(lr / n)));
    const float s = o->gate == PLUMB_GATE_RATIO ? ratio : plumb_saturate(statistic / n);
    const bool out = may_be_out && (s < o->low || s > o->high);
    const struct plumb_correction_unit u = { ratio, out ? ratio < o->low ? o->low : o->high : ratio,
                                             out };
    return u;
}

/* `logp` and `sampler` as plumb_correction_sampler left them. */
PLUMB_HD float plumb_correction_weight(const struct plumb_correction_options *o,
                                       const struct plumb_correction_unit *u, float logp,
                                       float sampler)
{
    if (o->clip) return u->clipped;
    if (u->out) return 0;
    if (o->keep == PLUMB_KEEP_UNIT_RATIO) return u->ratio;
    if (o->keep == PLUMB_KEEP_TOKEN_RATIO) return plumb_finite(plumb_exp(logp - sampler));
    return u->ratio == u->ratio ? 1 : u->ratio; /* NaN is not hidden */
}

struct plumb_correction_totals {
    double lr, abs, sum;
    float most_abs, least, most; /* least, most: of the weights, from +-infinity on */
    int32_t known, out;
};

/* Columns of one row of `tokens`; `own`: the unit is a token. */
PLUMB_HD void plumb_correction_stats(const struct plumb_correction_options *o,
                                     const struct plumb_correction_unit *u, bool own, double tokens,
                                     const struct plumb_correction_totals *t, float *out)
{
    const float empty = own ? 0 : plumb_correction_weight(o, u, 0, 0);
    out[PLUMB_CORRECTION_KNOWN] = (float)t->known;
    out[PLUMB_CORRECTION_OUT] = own ? (float)t->out : (float)u->out;
    out[PLUMB_CORRECTION_LOG_RATIO] = plumb_saturate(t->lr);
    out[PLUMB_CORRECTION_ABS_SUM] = plumb_saturate(t->abs);
    out[PLUMB_CORRECTION_ABS_MAX] = t->most_abs;
    out[PLUMB_CORRECTION_WEIGHT_SUM] = plumb_saturate(t->sum);
    out[PLUMB_CORRECTION_WEIGHT_MIN] = tokens > 0 ? t->least : empty;
    out[PLUMB_CORRECTION_WEIGHT_MAX] = tokens > 0 ? t->most : empty;
}
