/* From the log-probs of a row's tokens to its part of the loss and their gradients, f32 formulas
 * weighted in f64: what the native code and the device's share. A row is gone through for its sums
 * (plumb_policy_add), which give its ratio (plumb_policy_row_of); then, where the ratio is the
 * row's, for its pull, the derivative by the row's log-ratio; then for losses and gradients. */
#pragma once
#include "kernels/kl/kl_eval.h"
#include "kernels/policy/policy_eval.h"

#include <plumb/policy.h>

struct plumb_policy_options { /* by value to a kernel */
    int loss, level, aggregation, estimator;
    float low, high, cap, tau_positive, tau_negative;
    float k_positive, k_negative, lambda_positive, lambda_negative, coef;
    float clamp, log_low, log_high, kl_clamp;
    double row_ratio_max, divisor, beta;
    bool even; /* all tokens of a row have one policy term but for their log-probs */
};

static inline bool plumb_policy_even(const struct plumb_policy *a)
{
    const bool penalty = a->beta != 0 && a->estimator == PLUMB_KL_K3_IMPORTANCE_WEIGHTED;
    return !a->token_advantage.data && !a->sampler_ratio.data && !a->weight.data && !a->mark.data &&
           !penalty;
}

static inline struct plumb_policy_options plumb_policy_options(const struct plumb_policy *a)
{
    const struct plumb_policy_options o = { .loss = (int)a->loss,
                                            .level = (int)a->level,
                                            .aggregation = (int)a->aggregation,
                                            .estimator = (int)a->estimator,
                                            .low = (float)a->ratio_low,
                                            .high = (float)a->ratio_high,
                                            .cap = (float)a->cap,
                                            .tau_positive = (float)a->tau_positive,
                                            .tau_negative = (float)a->tau_negative,
                                            .k_positive = (float)a->k_positive,
                                            .k_negative = (float)a->k_negative,
                                            .lambda_positive = (float)a->lambda_positive,
                                            .lambda_negative = (float)a->lambda_negative,
                                            .coef = (float)a->coef,
                                            .clamp = (float)a->log_ratio_clamp,
                                            .log_low = (float)a->log_ratio_low,
                                            .log_high = (float)a->log_ratio_high,
                                            .kl_clamp = (float)a->kl_clamp,
                                            .row_ratio_max = a->row_ratio_max,
                                            .divisor = a->divisor,
                                            .beta = a->beta,
                                            .even = plumb_policy_even(a) };
    return o;
}

/* Whether the gradient through the ratio stays with the token that it is taken at. */
PLUMB_HD bool plumb_policy_own(const struct plumb_policy_options *o)
{
    return o->level == PLUMB_LEVEL_TOKEN || o->level == PLUMB_LEVEL_MEAN_TOKEN;
}

PLUMB_HD bool plumb_policy_rows(const struct plumb_policy_options *o)
{
    return o->aggregation == PLUMB_AGGREGATE_ROWS;
}

/* Whether rows have a pull that has to be summed over their tokens. */
PLUMB_HD bool plumb_policy_pulls(const struct plumb_policy_options *o)
{
    return !plumb_policy_own(o) && !o->even;
}

struct plumb_policy_input { /* of one token */
    float lp, old, ref, a, sampler, weight, mark;
};

struct plumb_policy_log_ratio {
    float value;
    bool low, high, open; /* ends met; whether it has a gradient */
};

PLUMB_HD struct plumb_policy_log_ratio plumb_policy_log_ratio_of(
    const struct plumb_policy_options *o, const struct plumb_policy_input *in)
{
    struct plumb_policy_log_ratio x = { plumb_finite(in->lp - in->old), false, false, true };
    if (o->clamp > 0 && plumb_abs(x.value) > o->clamp)
        x.value = x.value < 0 ? -o->clamp : o->clamp, x.open = false;
    x.low = o->log_low > 0 && in->a < 0 && x.value < -o->log_low;
    x.high = o->log_high > 0 && in->a > 0 && x.value > o->log_high;
    if (x.low || x.high) x.value = x.low ? -o->log_low : o->log_high, x.open = false;
    return x;
}

/* ---- one row ---- */

struct plumb_policy_sums {
    double tokens, lp, lr, a, sampler; /* counted; log-probs, log-ratios, advantages; see below */
};

PLUMB_HD void plumb_policy_add(const struct plumb_policy_options *o,
                               const struct plumb_policy_input *in, struct plumb_policy_sums *s)
{
    s->tokens++;
    s->lp += (double)in->lp;
    s->lr += (double)plumb_policy_log_ratio_of(o, in).value;
    s->a += (double)in->a;
}

/* What a token's sampler ratio adds to the log of a row's; vespo asks for it. */
PLUMB_HD double plumb_policy_sampler_log(float ratio)
{
    return (double)plumb_policy_between(plumb_log(ratio), -18.420680743952367f, 20);
}

struct plumb_policy_values {
    float value, dr, dlp, factor, kl, kl_dlp, kl_dr;
    int clip;
};

/* Both formulas of a token; on the device a call of its own: inlined, the formulas' registers would
 * be the kernel's. */
#ifdef __NVCC__
static __host__ __device__ __noinline__
#else
static inline
#endif
    struct plumb_policy_values
    plumb_policy_values(const struct plumb_policy_options *o, float lp, float old, float ref,
                        float r, float a, float mark)
{
    const struct plumb_policy_token p = { lp,
                                          old,
                                          r,
                                          a,
                                          mark,
                                          o->low,
                                          o->high,
                                          o->cap,
                                          o->tau_positive,
                                          o->tau_negative,
                                          o->k_positive,
                                          o->k_negative,
                                          o->lambda_positive,
                                          o->lambda_negative,
                                          o->coef };
    const struct plumb_kl_token q = { plumb_finite(lp - ref), r, o->kl_clamp };
    struct plumb_policy_grad g = { 0, 0, 0, 0 };
    struct plumb_kl_grad k = { 0, 0 };
    const float value = plumb_policy_eval(o->loss, &p, &g);
    const float kl = o->beta != 0 ? plumb_kl_eval(o->estimator, &q, &k) : 0;
    const struct plumb_policy_values v = { plumb_finite(value), plumb_finite(g.dr),
                                           plumb_finite(g.dlp), plumb_finite(g.factor),
                                           plumb_finite(kl),    plumb_finite(k.dlp),
                                           plumb_finite(k.dr),  (int)g.clip };
    return v;
}

struct plumb_policy_row {
    float r;             /* log-ratio of the row; of no meaning on level TOKEN */
    float value, factor; /* of the row as one: its own term; what A is multiplied by */
    int clip;            /* the end that it met */
    bool open;           /* whether its log-ratio has a gradient */
    double tokens;       /* counted */
    double weight;       /* of the row's part */
    double scale;        /* of a token's term in the loss */
    double share;        /* of the row's pull that each token gets */
    double pull;         /* d loss / d log-ratio of the row */
    double direct;       /* ROWS: d loss / d log-prob of each token, what goes through rho aside */
};

/* `a` is the row's advantage; with one per token (`each`) ROWS take the mean. Field by field: *row
 * is shared memory on the device, where the checking build does not see copies of structs. */
PLUMB_HD void plumb_policy_row_of(const struct plumb_policy_options *o,
                                  const struct plumb_policy_sums *s, float a, bool each,
                                  float weight, struct plumb_policy_row *row)
{
    const double n = s->tokens > 1 ? s->tokens : 1;
    const bool whole = plumb_policy_rows(o), sum = o->level == PLUMB_LEVEL_SUM;
    const double mean = (s->lr + s->sampler) / (sum ? 1 : n);
    const bool open = !(o->row_ratio_max > 0 && mean > o->row_ratio_max);
    const float r = plumb_saturate(open ? mean : o->row_ratio_max);
    const float lp = plumb_saturate(s->lp), adv = each ? plumb_saturate(s->a / n) : a;
    const double scale = o->divisor > 0 ? (double)weight / o->divisor : 0;
    struct plumb_policy_values own = { 0, 0, 0, 0, 0, 0, 0, 0 };
    if (!plumb_policy_own(o)) own = plumb_policy_values(o, lp, lp, lp, r, adv, 0);
    row->r = r, row->open = open;
    row->value = whole ? own.value : 0, row->factor = own.factor, row->clip = own.clip;
    row->tokens = s->tokens, row->weight = (double)weight;
    row->scale = o->aggregation == PLUMB_AGGREGATE_TOKENS ? scale : scale / n;
    row->share = !open ? 0 : sum ? 1 : 1 / n;
    row->pull = whole     ? scale * (double)own.dr
                : o->even ? row->scale * s->tokens * (double)own.dr
                          : 0;
    row->direct = whole ? scale * (double)own.dlp : 0;
}

/* ---- one token of it ---- */

struct plumb_policy_term {
    double loss;    /* undivided */
    double own;     /* d loss / d log-prob that stays here */
    double through; /* d loss / d log-ratio of the row */
    float lr, factor, kl;
    int clip;
    bool open;
};

PLUMB_HD struct plumb_policy_term plumb_policy_term_of(const struct plumb_policy_options *o,
                                                       const struct plumb_policy_row *row,
                                                       const struct plumb_policy_input *in)
{
    const struct plumb_policy_log_ratio x = plumb_policy_log_ratio_of(o, in);
    const bool own = plumb_policy_own(o), ends = o->log_low > 0 || o->log_high > 0;
    const float r = o->level == PLUMB_LEVEL_TOKEN ? x.value : row->r;
    const struct plumb_policy_values v = plumb_policy_values(o, in->lp, in->old, in->ref, r, in->a,
                                                             in->mark);
    const double scale = plumb_policy_rows(o) ? 0 : (double)in->sampler * (double)in->weight;
    const double value = plumb_policy_rows(o) ? 0 : scale * (double)v.value;
    const double dlp = plumb_policy_rows(o) ? 0 : scale * (double)v.dlp;
    const double dr = plumb_policy_rows(o) ? 0 : scale * (double)v.dr;
    struct plumb_policy_term t = { .loss = value + o->beta * (double)v.kl,
                                   .lr = x.value,
                                   .factor = v.factor,
                                   .kl = v.kl,
                                   .clip = v.clip,
                                   .open = x.open && row->open };
    if (ends) t.clip = x.low ? PLUMB_POLICY_LOW : x.high ? PLUMB_POLICY_HIGH : PLUMB_POLICY_FREE;
    if (own && t.open) {
        t.own = dlp + dr + o->beta * (double)v.kl_dlp;
    } else {
        t.own = dlp + o->beta * ((double)v.kl_dlp - (double)v.kl_dr);
        t.through = own ? 0 : dr + o->beta * (double)v.kl_dr;
    }
    return t;
}

PLUMB_HD float plumb_policy_slope(const struct plumb_policy_options *o,
                                  const struct plumb_policy_row *row,
                                  const struct plumb_policy_term *t)
{
    const double through = plumb_policy_own(o) || !t->open ? 0 : row->share * row->pull;
    return plumb_saturate(row->scale * t->own + row->direct + through);
}

/* The row's part of the loss from the sum of its tokens' terms. */
PLUMB_HD float plumb_policy_row_part(const struct plumb_policy_options *o,
                                     const struct plumb_policy_row *row, double terms)
{
    const double n = row->tokens > 1 ? row->tokens : 1;
    const double part = o->aggregation == PLUMB_AGGREGATE_TOKENS ? terms : terms / n;
    return plumb_saturate(row->weight * (part + (double)row->value));
}

/* ---- what a row reports ---- */

struct plumb_policy_totals { /* over its tokens */
    double loss, lr, kl, factor, entropy, bonus;
    int32_t low, high, capped;
};

PLUMB_HD void plumb_policy_count(struct plumb_policy_totals *all, int clip)
{
    all->low += clip == PLUMB_POLICY_LOW;
    all->high += clip == PLUMB_POLICY_HIGH;
    all->capped += clip == PLUMB_POLICY_CAPPED;
}

/* Columns of one row; `each`: its tokens have advantages of their own. */
PLUMB_HD void plumb_policy_stats(const struct plumb_policy_options *o,
                                 const struct plumb_policy_row *row, bool each,
                                 const struct plumb_policy_totals *all, float *out)
{
    const bool one = plumb_policy_rows(o) || !(plumb_policy_own(o) || each);
    const bool ends = o->log_low > 0 || o->log_high > 0;
    const int clip = row->clip;
    out[PLUMB_STAT_TOKENS] = (float)row->tokens;
    out[PLUMB_STAT_LOW] = one && !ends ? clip == PLUMB_POLICY_LOW : (float)all->low;
    out[PLUMB_STAT_HIGH] = one && !ends ? clip == PLUMB_POLICY_HIGH : (float)all->high;
    out[PLUMB_STAT_CAPPED] = one && !ends ? clip == PLUMB_POLICY_CAPPED : (float)all->capped;
    out[PLUMB_STAT_RATIO] = one ? row->factor : plumb_saturate(all->factor);
    out[PLUMB_STAT_LOG_RATIO] = plumb_saturate(all->lr);
    out[PLUMB_STAT_KL] = plumb_saturate(all->kl);
    out[PLUMB_STAT_ENTROPY] = plumb_saturate(all->entropy);
}

/* ---- entropy bonus ---- */

struct plumb_policy_bonus {
    double coef, divisor; /* divisor 0 = nothing counts */
    bool means;
};

/* d loss / d (weight * entropy) of a token in a row of `tokens`. */
PLUMB_HD double plumb_policy_bonus_slope(const struct plumb_policy_bonus *b, double tokens)
{
    const double n = b->means && tokens > 1 ? tokens : 1;
    return b->divisor > 0 ? -b->coef / b->divisor / n : 0;
}

PLUMB_HD float plumb_policy_bonus_part(const struct plumb_policy_bonus *b, double sum,
                                       double tokens)
{
    return plumb_saturate(b->means && tokens > 1 ? sum / tokens : sum);
}
