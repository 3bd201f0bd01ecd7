/* Adapters of golden/losses/policy: the losses of TRL. Each case runs twice: on runs of its counted
 * tokens, and on whole rows with the masked tokens skipped. */
#include "tests/policy_golden.h"

#include <math.h>
#include <string.h>

/* ---- what all share ---- */

static void count(struct policy_run *p, const double *mask)
{
    p->counts.rows = p->rows.B;
    for (int64_t b = 0; b < p->rows.B; b++) {
        int64_t n = 0;
        for (int64_t t = 0; t < p->rows.T; t++)
            n += mask[b * p->rows.T + t] != 0;
        p->counts.tokens += n;
        p->counts.rows_with_tokens += n > 0;
    }
}

struct plumb_tensor policy_input(struct golden_run *r, const struct policy_run *p, const char *name)
{
    return golden_in(r, golden_packed(r, &p->rows, name), p->rows.M);
}

static const int32_t *targets(struct golden_run *r, const struct policy_run *p, const double *mask)
{
    const size_t bytes = (size_t)p->rows.M * sizeof(int32_t);
    int32_t *target = golden_alloc(r, bytes);
    for (int64_t m = 0; m < p->rows.M; m++)
        target[m] = mask[m] != 0 ? 7 : -1;
    return golden_copy(r, target, bytes);
}

void policy_begin(struct golden_run *r, struct policy_run *p, bool skips)
{
    int64_t n, advantages;
    const double *mask = golden_input(r, "completion_mask", &n);
    const double *advantage = golden_input(r, "advantages", &advantages);
    *p = (struct policy_run){ .skips = skips };
    p->rows = golden_rows_of(r, "per_token_logps", skips ? NULL : "completion_mask");
    count(p, mask);
    const int64_t B = p->rows.B, M = p->rows.M;
    p->a = (struct plumb_policy){
        .struct_bytes = sizeof p->a,
        .B = B,
        .offset = golden_copy(r, p->rows.offset, (size_t)(B + 1) * sizeof *p->rows.offset),
        .target = skips ? targets(r, p, mask) : NULL,
        .logp = policy_input(r, p, "per_token_logps"),
        .old_logp = policy_input(r, p, "old_per_token_logps"),
        .ref_logp = policy_input(r, p, "ref_per_token_logps"),
        .sampler_ratio = policy_input(r, p, "importance_sampling_ratio"),
        .losses = golden_out(r, B),
        .stats = golden_out(r, B * PLUMB_POLICY_STATS),
        .dlogp = golden_out(r, M),
        .estimator = PLUMB_KL_K3,
        .beta = golden_option(r, "beta", 0),
        .entropy = policy_input(r, p, "entropies"),
        .entropy_coef = golden_option(r, "entropy_coef", 0),
        .entropy_divisor = fmax((double)p->counts.tokens, 1),
    };
    if (p->a.entropy.data) p->a.bonus = golden_out(r, B), p->a.dentropy = golden_out(r, M);
    if (advantages == B)
        p->a.advantage = golden_in(r, advantage, B);
    else
        p->a.token_advantage = policy_input(r, p, "advantages");
}

/* TRL's ends of the clip ratios over rows: a row without tokens has none, unless it has one
 * ratio. */
static void report_ends(struct golden_run *r, const struct policy_run *p, const double *stats)
{
    const bool one = p->a.level == PLUMB_LEVEL_MEAN || p->a.level == PLUMB_LEVEL_SUM;
    const bool by_row = one && p->a.log_ratio_low == 0;
    double low = NAN, high = NAN, sum[2] = { 0, 0 };
    for (int64_t b = 0; b < p->a.B; b++) {
        const double *s = stats + b * PLUMB_POLICY_STATS;
        const double n = by_row ? 1 : s[PLUMB_STAT_TOKENS];
        sum[0] += s[PLUMB_STAT_LOW], sum[1] += s[PLUMB_STAT_HIGH];
        low = fmin(low, s[PLUMB_STAT_LOW] / n), high = fmax(high, s[PLUMB_STAT_HIGH] / n);
    }
    const double n = fmax(by_row ? (double)p->a.B : p->tokens, 1);
    golden_value(r, "metrics", "clip_ratio/low_mean", sum[0] / n);
    golden_value(r, "metrics", "clip_ratio/high_mean", sum[1] / n);
    golden_value(r, "metrics", "clip_ratio/region_mean", (sum[0] + sum[1]) / n);
    golden_value(r, "metrics", "clip_ratio/low_min", low);
    golden_value(r, "metrics", "clip_ratio/high_max", high);
}

static void report_stats(struct golden_run *r, struct policy_run *p, const double *stats)
{
    double sum[PLUMB_POLICY_STATS] = { 0 };
    for (int64_t i = 0; i < p->a.B * PLUMB_POLICY_STATS; i++)
        sum[i % PLUMB_POLICY_STATS] += stats[i];
    p->tokens = sum[PLUMB_STAT_TOKENS];
    const double n = fmax(p->tokens, 1);
    report_ends(r, p, stats);
    golden_value(r, "metrics", "cispo_clip_ratio", sum[PLUMB_STAT_HIGH] / n);
    golden_value(r, "metrics", "vespo/phi_seq_mean", sum[PLUMB_STAT_RATIO] / (double)p->a.B);
    golden_value(r, "metrics", "kl", sum[PLUMB_STAT_KL] / n);
    golden_value(r, "metrics", "entropy", sum[PLUMB_STAT_ENTROPY] / n);
    golden_value(r, "metrics", "actor/ppo_kl", -sum[PLUMB_STAT_LOG_RATIO] / n);
    golden_value(r, "metrics", "actor/pg_clipfrac",
                 (sum[PLUMB_STAT_LOW] + sum[PLUMB_STAT_HIGH]) / n);
    golden_value(r, "metrics", "actor/pg_clipfrac_lower", sum[PLUMB_STAT_CAPPED] / n);
}

/* The published gradient of a weighted penalty is ratio k3 + ratio (1 - e^-d), which at large
 * log-ratios is the rounding of its terms. */
static void report_gradient(struct golden_run *r, const struct policy_run *p)
{
    const double *dlogp = golden_read(r, &p->a.dlogp, p->rows.M);
    if (p->a.beta == 0 || p->a.estimator != PLUMB_KL_K3_IMPORTANCE_WEIGHTED) {
        golden_packed_values(r, &p->rows, "grads", "per_token_logps", dlogp);
        return;
    }
    const struct plumb_kl a = { .struct_bytes = sizeof a,
                                .estimator = p->a.estimator,
                                .M = p->rows.M,
                                .logp = p->a.logp,
                                .ref_logp = p->a.ref_logp,
                                .old_logp = p->a.old_logp,
                                .divisor = fmax(p->a.divisor, 1) / p->a.beta,
                                .kl = golden_out(r, p->rows.M),
                                .dlogp = golden_out(r, p->rows.M) };
    if (!golden_ok(r, plumb_kl(r->dev, &a))) return;
    const double *kl = golden_read(r, &a.kl, p->rows.M);
    double *terms = golden_alloc(r, (size_t)p->rows.M * sizeof *terms);
    for (int64_t m = 0; m < p->rows.M; m++)
        terms[m] = kl[m] / a.divisor;
    golden_packed_differences(r, &p->rows, "grads", "per_token_logps", dlogp, terms);
}

/* TRL's bonus: minus coef times the mean entropy of the selected tokens. */
static void report_entropy(struct golden_run *r, struct policy_run *p)
{
    if (!p->a.entropy.data) return;
    const double *bonus = golden_read(r, &p->a.bonus, p->a.B);
    double sum = 0, divisor = p->a.entropy_divisor;
    for (int64_t b = 0; b < p->a.B; b++)
        sum += bonus[b];
    if (p->a.entropy_count.data) divisor = *golden_read(r, &p->a.entropy_count, 1);
    p->loss -= divisor > 0 ? p->a.entropy_coef * sum / divisor : 0;
    golden_packed_values(r, &p->rows, "grads", "entropies",
                         golden_read(r, &p->a.dentropy, p->rows.M));
    golden_value(r, "metrics", "policy_loss", p->policy_loss);
    golden_value(r, "metrics", "entropy_coef", p->a.entropy_coef);
}

bool policy_finish(struct golden_run *r, struct policy_run *p)
{
    if (!golden_ok(r, plumb_policy(r->dev, &p->a))) return false;
    const double *losses = golden_read(r, &p->a.losses, p->a.B);
    double sum = 0;
    for (int64_t b = 0; b < p->a.B; b++)
        sum += losses[b];
    p->loss = p->policy_loss = p->a.divisor > 0 ? sum / p->a.divisor : 0;
    golden_values(r, NULL, "losses", losses, p->a.B);
    report_gradient(r, p);
    report_entropy(r, p);
    report_stats(r, p, golden_read(r, &p->a.stats, p->a.B * PLUMB_POLICY_STATS));
    return true;
}

void policy_report(struct golden_run *r, struct policy_run *p)
{
    if (policy_finish(r, p)) golden_value(r, NULL, "loss", p->loss);
}

/* ---- TRL ---- */

/* The case's loss_type and its options, by the table of loss types. */
bool policy_trl_kind(struct golden_run *r, struct policy_run *p, const char *loss_type)
{
    const char *given = golden_option_text(r, "loss_type");
    const char *level = golden_option_text(r, "importance_sampling_level");
    const double epsilon = golden_option(r, "epsilon_low", 0.2);
    p->counts.step_tokens = (int64_t)golden_option(r, "num_items_in_batch", 0);
    p->counts.max_completion_length = (int64_t)golden_option(r, "max_completion_length", 0);
    if (!golden_ok(r, plumb_policy_preset(given ? given : loss_type, &p->counts, epsilon,
                                          golden_option(r, "epsilon_high", 0.2),
                                          golden_option(r, "delta", 0), &p->a)))
        return false;
    if (level && !strcmp(level, "sequence")) p->a.level = PLUMB_LEVEL_MEAN;
    p->a.tau_positive = golden_option(r, "sapo_temperature_pos", p->a.tau_positive);
    p->a.tau_negative = golden_option(r, "sapo_temperature_neg", p->a.tau_negative);
    p->a.k_positive = golden_option(r, "vespo_k_pos", p->a.k_positive);
    p->a.k_negative = golden_option(r, "vespo_k_neg", p->a.k_negative);
    p->a.lambda_positive = golden_option(r, "vespo_lambda_pos", p->a.lambda_positive);
    p->a.lambda_negative = golden_option(r, "vespo_lambda_neg", p->a.lambda_negative);
    if (golden_option(r, "use_bias_correction_kl", 0))
        p->a.estimator = PLUMB_KL_K3_IMPORTANCE_WEIGHTED;
    return true;
}

/* `how` is the loss type where the case names none. */
static void trl(struct golden_run *r, const void *how)
{
    for (int skips = 0; skips < 2; skips++) {
        struct policy_run p;
        policy_begin(r, &p, skips);
        if (!policy_trl_kind(r, &p, how)) return;
        /* vespo's rho has the masked tokens' sampler ratios too, which only whole rows have */
        if (skips || p.a.loss != PLUMB_POLICY_VESPO || !p.a.sampler_ratio.data)
            policy_report(r, &p);
    }
}

extern const struct golden_member golden_policy[];
const struct golden_member golden_policy[] = {
    { "policy/grpo", trl, NULL },
    { "policy/bnpo", trl, NULL },
    { "policy/dr_grpo", trl, NULL },
    { "policy/dapo", trl, NULL },
    { "policy/cispo", trl, NULL },
    { "policy/sapo", trl, NULL },
    { "policy/luspo", trl, NULL },
    { "policy/vespo", trl, NULL },
    { "policy/grpo_kl", trl, NULL },
    { "policy/grpo_two_sided_clip", trl, NULL },
    { "policy/gspo", trl, NULL },
    { "policy/gspo_bnpo", trl, NULL },
    { "policy/gmpo", trl, "gmpo" },
    { "policy/rloo", trl, "rloo" },
    { "policy/sampler_correction", trl, NULL },
    { 0 },
};
