/* Oracle of the policy losses: plain loops in f64; for a yardstick every sum and product is rounded
 * and the formulas run in plain f32. */
#define PLUMB_REAL_F64
#include "kernels/kl/kl_eval.h"
#include "kernels/policy/policy_eval.h"

#include <plumb/policy.h>
#include <string.h>

#include "kernels/kl/kl_plain.h"
#include "kernels/policy/policy_plain.h"

struct row {
    const struct plumb_policy *a;
    enum plumb_dtype round;
    int64_t b, n;               /* row and its counted tokens */
    double r, scale, share;     /* log-ratio; of a token's term; of the pull */
    double pull, direct, value; /* d / d r; ROWS: d / d lp and the value of the row's own term */
    bool closed;                /* row_ratio_max was met */
};

struct term {
    double lr, value, dr, dlp, factor, kl, kl_dlp, kl_dr;
    int clip;
    bool closed;
};

static double rounded(const struct row *w, double x) { return plumb_dtype_round(w->round, x); }

static double at(const struct plumb_tensor *t, int64_t i, double absent)
{
    return t->data ? ((const double *)t->data)[i] : absent;
}

static bool counts(const struct plumb_policy *a, int64_t t)
{
    return !a->target || a->target[t] >= 0;
}

static double advantage(const struct plumb_policy *a, int64_t b, int64_t t)
{
    return a->advantage.data ? at(&a->advantage, b, 0) : at(&a->token_advantage, t, 0);
}

static bool is_row_level(const struct plumb_policy *a)
{
    return a->level == PLUMB_LEVEL_MEAN || a->level == PLUMB_LEVEL_SUM;
}

/* The token's log-ratio with its ends; *clip says which of the one-sided ones was met. */
static double log_ratio(const struct row *w, int64_t t, bool *closed, int *clip)
{
    const struct plumb_policy *a = w->a;
    const double lp = at(&a->logp, t, 0), adv = advantage(a, w->b, t);
    double x = rounded(w, lp - at(&a->old_logp, t, lp));
    *closed = a->log_ratio_clamp > 0 && fabs(x) > a->log_ratio_clamp;
    if (*closed) x = copysign(a->log_ratio_clamp, x);
    *clip = PLUMB_POLICY_FREE;
    if (a->log_ratio_low > 0 && adv < 0 && x < -a->log_ratio_low)
        x = -a->log_ratio_low, *clip = PLUMB_POLICY_LOW;
    if (a->log_ratio_high > 0 && adv > 0 && x > a->log_ratio_high)
        x = a->log_ratio_high, *clip = PLUMB_POLICY_HIGH;
    *closed |= *clip != PLUMB_POLICY_FREE;
    return x;
}

static void formula(const struct row *w, double lp, double old, double r, double adv, double mark,
                    struct term *t)
{
    const struct plumb_policy *a = w->a;
    const struct plumb_policy_token p = {
        .lp = lp,
        .old = old,
        .r = r,
        .a = adv,
        .mark = mark,
        .low = a->ratio_low,
        .high = a->ratio_high,
        .cap = a->cap,
        .tau_positive = a->tau_positive,
        .tau_negative = a->tau_negative,
        .k_positive = a->k_positive,
        .k_negative = a->k_negative,
        .lambda_positive = a->lambda_positive,
        .lambda_negative = a->lambda_negative,
        .coef = a->coef,
    };
    struct plumb_policy_grad g = { 0 };
    t->value = w->round == PLUMB_F64
                   ? plumb_policy_eval((int)a->loss, &p, &g)
                   : plumb_policy_plain((int)a->loss, (const double *)&p, (double *)&g);
    t->dr = g.dr, t->dlp = g.dlp, t->factor = g.factor, t->clip = (int)g.clip;
}

static void penalty(const struct row *w, int64_t m, double r, struct term *t)
{
    const struct plumb_policy *a = w->a;
    const double lp = at(&a->logp, m, 0);
    const struct plumb_kl_token p = { rounded(w, lp - at(&a->ref_logp, m, 0)), r, a->kl_clamp };
    struct plumb_kl_grad g = { 0 };
    if (a->beta == 0) return;
    t->kl = w->round == PLUMB_F64
                ? plumb_kl_eval((int)a->estimator, &p, &g)
                : plumb_kl_plain((int)a->estimator, (const double *)&p, (double *)&g);
    t->kl_dlp = g.dlp, t->kl_dr = g.dr;
}

static struct term token(const struct row *w, int64_t m)
{
    const struct plumb_policy *a = w->a;
    const double lp = at(&a->logp, m, 0);
    const double sampler = a->loss == PLUMB_POLICY_VESPO ? 1 : at(&a->sampler_ratio, m, 1);
    const double weight = rounded(w, sampler * at(&a->weight, m, 1));
    struct term t = { 0 };
    int end;
    t.lr = log_ratio(w, m, &t.closed, &end);
    const double r = a->level == PLUMB_LEVEL_TOKEN ? t.lr : w->r;
    if (a->aggregation != PLUMB_AGGREGATE_ROWS) {
        formula(w, lp, at(&a->old_logp, m, lp), r, advantage(a, w->b, m), at(&a->mark, m, 0), &t);
        t.value = rounded(w, weight * t.value);
        t.dr = rounded(w, weight * t.dr), t.dlp = rounded(w, weight * t.dlp);
    }
    if (a->log_ratio_low > 0 || a->log_ratio_high > 0) t.clip = end;
    penalty(w, m, r, &t);
    t.closed |= w->closed;
    return t;
}

/* n, r and what follows from them. */
static void begin(struct row *w)
{
    const struct plumb_policy *a = w->a;
    double lr = 0, lp = 0, adv = 0;
    for (int64_t t = a->offset[w->b]; t < a->offset[w->b + 1]; t++) {
        bool closed;
        int clip;
        if (a->loss == PLUMB_POLICY_VESPO && a->sampler_ratio.data)
            lr = rounded(w, lr + fmin(fmax(log(at(&a->sampler_ratio, t, 1)), log(1e-8)), 20));
        if (!counts(a, t)) continue;
        lr = rounded(w, lr + log_ratio(w, t, &closed, &clip));
        lp = rounded(w, lp + at(&a->logp, t, 0));
        adv = rounded(w, adv + advantage(a, w->b, t));
        w->n++;
    }
    const double n = w->n > 1 ? (double)w->n : 1, part = at(&a->row_weight, w->b, 1);
    w->r = a->level == PLUMB_LEVEL_SUM ? lr : rounded(w, lr / n);
    w->closed = a->row_ratio_max > 0 && w->r > a->row_ratio_max;
    if (w->closed) w->r = a->row_ratio_max;
    w->share = w->closed ? 0 : a->level == PLUMB_LEVEL_SUM ? 1 : 1 / n;
    w->scale = a->divisor > 0 ? part / a->divisor : 0;
    if (a->aggregation == PLUMB_AGGREGATE_ROWS) {
        struct term own = { 0 };
        const double mean = a->advantage.data ? at(&a->advantage, w->b, 0) : rounded(w, adv / n);
        formula(w, lp, lp, w->r, mean, 0, &own);
        w->pull = w->scale * own.dr, w->direct = w->scale * own.dlp, w->value = own.value;
    }
    if (a->aggregation != PLUMB_AGGREGATE_TOKENS) w->scale /= n;
    for (int64_t t = a->offset[w->b]; is_row_level(a) && t < a->offset[w->b + 1]; t++) {
        if (!counts(a, t)) continue;
        const struct term own = token(w, t);
        const double through = rounded(w, own.dr + a->beta * own.kl_dr);
        w->pull = rounded(w, w->pull + w->scale * through);
    }
}

static double slope(const struct row *w, const struct term *t)
{
    const double beta = w->a->beta;
    double direct = t->dlp + beta * (t->kl_dlp - t->kl_dr);
    if (!is_row_level(w->a) && !t->closed) direct = t->dlp + t->dr + beta * t->kl_dlp;
    double through = 0;
    if (is_row_level(w->a) && !t->closed) through = rounded(w, w->share * w->pull);
    return rounded(w, rounded(w, w->scale * rounded(w, direct)) + w->direct + through);
}

static void report(struct row *w, const double *sum)
{
    const struct plumb_policy *a = w->a;
    double *stats = a->stats.data ? (double *)a->stats.data + w->b * PLUMB_POLICY_STATS : NULL;
    if (!stats) return;
    memcpy(stats, sum, PLUMB_POLICY_STATS * sizeof *stats);
    stats[PLUMB_STAT_TOKENS] = (double)w->n;
    const bool rows = a->aggregation == PLUMB_AGGREGATE_ROWS;
    if (!is_row_level(a) || !(rows || a->advantage.data)) return;
    double lp = 0, adv = at(&a->advantage, w->b, 0);
    for (int64_t t = a->offset[w->b]; t < a->offset[w->b + 1]; t++) {
        if (!counts(a, t)) continue;
        lp = rounded(w, lp + at(&a->logp, t, 0));
        if (!a->advantage.data)
            adv = rounded(w, adv + at(&a->token_advantage, t, 0) / (double)w->n);
    }
    struct term own = { 0 };
    formula(w, lp, lp, w->r, adv, 0, &own);
    stats[PLUMB_STAT_RATIO] = own.factor;
    if (a->log_ratio_low > 0 || a->log_ratio_high > 0) return;
    for (int i = PLUMB_STAT_LOW; i <= PLUMB_STAT_CAPPED; i++)
        stats[i] = own.clip == i;
}

static void entropies(const struct row *w, double *sum)
{
    const struct plumb_policy *a = w->a;
    const double n = a->entropy_row_means && w->n > 1 ? (double)w->n : 1;
    const double divisor = a->entropy_count.data ? at(&a->entropy_count, 0, 0) : a->entropy_divisor;
    double *dentropy = a->dentropy.data, *parts = a->bonus.data, bonus = 0;
    const double scale = divisor > 0 ? -a->entropy_coef / divisor / n : 0;
    for (int64_t t = a->offset[w->b]; a->entropy.data && t < a->offset[w->b + 1]; t++) {
        const double weight = counts(a, t) ? at(&a->entropy_weight, t, 1) : 0;
        if (dentropy) dentropy[t] = rounded(w, scale * weight);
        if (!counts(a, t)) continue;
        sum[PLUMB_STAT_ENTROPY] = rounded(w, sum[PLUMB_STAT_ENTROPY] + at(&a->entropy, t, 0));
        bonus = rounded(w, bonus + weight * at(&a->entropy, t, 0));
    }
    if (parts) parts[w->b] = rounded(w, bonus / n);
}

static void one_row(const struct plumb_policy *a, enum plumb_dtype round, int64_t b)
{
    struct row w = { .a = a, .round = round, .b = b };
    double sum[PLUMB_POLICY_STATS] = { 0 }, loss = 0, *dlogp = a->dlogp.data;
    begin(&w);
    for (int64_t m = a->offset[b]; m < a->offset[b + 1]; m++) {
        if (!counts(a, m)) {
            if (dlogp) dlogp[m] = 0;
            continue;
        }
        const struct term t = token(&w, m);
        loss = rounded(&w, loss + rounded(&w, t.value + a->beta * t.kl));
        sum[PLUMB_STAT_LOG_RATIO] = rounded(&w, sum[PLUMB_STAT_LOG_RATIO] + t.lr);
        sum[PLUMB_STAT_KL] = rounded(&w, sum[PLUMB_STAT_KL] + t.kl);
        sum[PLUMB_STAT_RATIO] = rounded(&w, sum[PLUMB_STAT_RATIO] + t.factor);
        for (int i = PLUMB_STAT_LOW; i <= PLUMB_STAT_CAPPED; i++)
            sum[i] += t.clip == i;
        if (dlogp) dlogp[m] = slope(&w, &t);
    }
    if (a->aggregation != PLUMB_AGGREGATE_TOKENS) loss /= w.n > 1 ? (double)w.n : 1;
    ((double *)a->losses.data)[b] = rounded(&w, at(&a->row_weight, b, 1) * (loss + w.value));
    entropies(&w, sum);
    report(&w, sum);
}

void plumb_policy_ref(const struct plumb_policy *a, enum plumb_dtype round)
{
#pragma omp parallel for schedule(static)
    for (int64_t b = 0; b < a->B; b++)
        one_row(a, round, b);
}
