/* Native policy losses: formulas in f32, sums of a row in f64 in the order of its tokens, rows in
 * parallel. Compiled once per instruction set. */
#include "kernels/op.h"
#include "kernels/policy/policy_shell.h"

static float at(const struct plumb_tensor *t, int64_t i, float absent)
{
    return t->data ? ((const float *)t->data)[i] : absent;
}

static bool counts(const struct plumb_policy *a, int64_t t)
{
    return !a->target || a->target[t] >= 0;
}

static struct plumb_policy_input input(const struct plumb_policy *a, int64_t b, int64_t t)
{
    const float lp = ((const float *)a->logp.data)[t];
    const bool vespo = a->loss == PLUMB_POLICY_VESPO;
    return (struct plumb_policy_input){
        .lp = lp,
        .old = at(&a->old_logp, t, lp),
        .ref = at(&a->ref_logp, t, lp),
        .a = a->advantage.data ? at(&a->advantage, b, 0) : at(&a->token_advantage, t, 0),
        .sampler = vespo ? 1 : at(&a->sampler_ratio, t, 1),
        .weight = at(&a->weight, t, 1),
        .mark = at(&a->mark, t, 0),
    };
}

static struct plumb_policy_row row_of(const struct plumb_policy *a,
                                      const struct plumb_policy_options *o, int64_t b)
{
    struct plumb_policy_sums s = { 0 };
    const bool logs = a->loss == PLUMB_POLICY_VESPO && a->sampler_ratio.data;
    for (int64_t t = a->offset[b]; t < a->offset[b + 1]; t++) {
        if (logs) s.sampler += plumb_policy_sampler_log(at(&a->sampler_ratio, t, 1));
        if (!counts(a, t)) continue;
        if (o->level == PLUMB_LEVEL_TOKEN) { /* nothing else is asked of the row */
            s.tokens++;
            continue;
        }
        const struct plumb_policy_input in = input(a, b, t);
        plumb_policy_add(o, &in, &s);
    }
    struct plumb_policy_row row;
    plumb_policy_row_of(o, &s, at(&a->advantage, b, 0), a->token_advantage.data != NULL,
                        at(&a->row_weight, b, 1), &row);
    if (!plumb_policy_pulls(o)) return row;
    double pull = 0;
    for (int64_t t = a->offset[b]; t < a->offset[b + 1]; t++) {
        if (!counts(a, t)) continue;
        const struct plumb_policy_input in = input(a, b, t);
        pull += row.scale * plumb_policy_term_of(o, &row, &in).through;
    }
    row.pull += pull;
    return row;
}

static void tokens(const struct plumb_policy *a, const struct plumb_policy_options *o,
                   const struct plumb_policy_row *row, int64_t b, struct plumb_policy_totals *all)
{
    float *dlogp = a->dlogp.data;
    for (int64_t t = a->offset[b]; t < a->offset[b + 1]; t++) {
        if (!counts(a, t)) {
            if (dlogp) dlogp[t] = 0;
            continue;
        }
        const struct plumb_policy_input in = input(a, b, t);
        const struct plumb_policy_term term = plumb_policy_term_of(o, row, &in);
        all->loss += term.loss;
        all->lr += (double)term.lr;
        all->kl += (double)term.kl;
        all->factor += (double)term.factor;
        plumb_policy_count(all, term.clip);
        if (dlogp) dlogp[t] = plumb_policy_slope(o, row, &term);
    }
}

static void entropies(const struct plumb_policy *a, const struct plumb_policy_bonus *bonus,
                      const struct plumb_policy_row *row, int64_t b,
                      struct plumb_policy_totals *all)
{
    const double slope = plumb_policy_bonus_slope(bonus, row->tokens);
    float *dentropy = a->dentropy.data;
    for (int64_t t = a->offset[b]; t < a->offset[b + 1]; t++) {
        const double weight = counts(a, t) ? (double)at(&a->entropy_weight, t, 1) : 0;
        if (dentropy) dentropy[t] = plumb_saturate(slope * weight);
        if (!counts(a, t)) continue;
        all->entropy += (double)at(&a->entropy, t, 0);
        all->bonus += weight * (double)at(&a->entropy, t, 0);
    }
}

int PLUMB_CPU_FN(plumb_policy_cpu)(const struct plumb_policy *a)
{
    const struct plumb_policy_options o = plumb_policy_options(a);
    const struct plumb_policy_bonus bonus = { a->entropy_coef,
                                              a->entropy_count.data
                                                  ? (double)at(&a->entropy_count, 0, 0)
                                                  : a->entropy_divisor,
                                              a->entropy_row_means };
    float *losses = a->losses.data, *parts = a->bonus.data, *stats = a->stats.data;
#pragma omp parallel for schedule(static)
    for (int64_t b = 0; b < a->B; b++) {
        const struct plumb_policy_row row = row_of(a, &o, b);
        struct plumb_policy_totals all = { 0 };
        tokens(a, &o, &row, b, &all);
        losses[b] = plumb_policy_row_part(&o, &row, all.loss);
        if (a->entropy.data) entropies(a, &bonus, &row, b, &all);
        if (parts) parts[b] = plumb_policy_bonus_part(&bonus, all.bonus, row.tokens);
        if (stats)
            plumb_policy_stats(&o, &row, a->token_advantage.data != NULL, &all,
                               stats + b * PLUMB_POLICY_STATS);
    }
    return PLUMB_OK;
}
