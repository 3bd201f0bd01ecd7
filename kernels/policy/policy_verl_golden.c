/* Adapters of golden/losses/policy: the losses of verl, OpenRLHF and of papers alone. */
#include "tests/policy_golden.h"

#include <math.h>
#include <plumb/pairwise.h>
#include <string.h>

struct kind {
    const char *loss;
    enum plumb_policy_level level;
    double clamp, row_ratio_max;
};

void policy_verl_aggregation(struct golden_run *r, struct policy_run *p)
{
    const char *given = golden_option_text(r, "loss_agg_mode");
    const char *mode = given ? given : "seq-mean-token-mean";
    const double rows = (double)p->counts.rows_with_tokens;
    const double norm = golden_option(r, "loss_scale_factor", (double)p->rows.T);
    p->a.aggregation = !strcmp(mode, "seq-mean-token-mean") ? PLUMB_AGGREGATE_ROW_MEANS
                                                            : PLUMB_AGGREGATE_TOKENS;
    p->a.divisor = !strcmp(mode, "token-mean")                ? (double)p->counts.tokens
                   : !strcmp(mode, "token-sum")               ? 1
                   : !strcmp(mode, "seq-mean-token-sum-norm") ? rows * norm
                                                              : rows;
}

/* An end of the clip: its own option, or the one for both. */
static double end(struct golden_run *r, const char *name)
{
    return golden_option(r, name, golden_option(r, "clip_ratio", 0));
}

static void set_options(struct golden_run *r, struct plumb_policy *a)
{
    const double low = end(r, "clip_ratio_low"), high = end(r, "clip_ratio_high");
    const bool dppo = a->loss == PLUMB_POLICY_DPPO_TV || a->loss == PLUMB_POLICY_DPPO_KL;
    a->ratio_low = dppo ? low : 1 - low, a->ratio_high = dppo ? high : 1 + high;
    a->cap = golden_option(r, "clip_ratio_c", 0);
    a->tau_positive = golden_option(r, "tau_pos", 0);
    a->tau_negative = golden_option(r, "tau_neg", 0);
    a->coef = golden_option(r, "dro_beta", 0);
}

static void verl(struct golden_run *r, const void *how)
{
    const struct kind *kind = how;
    for (int skips = 0; skips < 2; skips++) {
        struct policy_run p;
        policy_begin(r, &p, skips);
        p.a.loss = (enum plumb_policy_loss)plumb_policy_find(kind->loss);
        p.a.level = kind->level;
        p.a.log_ratio_clamp = kind->clamp, p.a.row_ratio_max = kind->row_ratio_max;
        set_options(r, &p.a);
        policy_verl_aggregation(r, &p);
        policy_report(r, &p);
    }
}

/* A row's advantage is the mean of its tokens', so a row without tokens has none. */
static void geo_mean(struct golden_run *r, const void *how)
{
    (void)how;
    for (int skips = 0; skips < 2; skips++) {
        struct policy_run p;
        policy_begin(r, &p, skips);
        if (!golden_ok(r, plumb_policy_preset("gmpo", &p.counts, end(r, "clip_ratio_low"),
                                              end(r, "clip_ratio_high"), 0, &p.a)))
            return;
        p.a.advantage.data = NULL;
        p.a.token_advantage = policy_input(r, &p, "advantages");
        policy_report(r, &p);
    }
}

/* The paper's clip A + e |A| is a clip of the ratio to [1 - e, 1 + e]; that of the code to
 * [1 / (1 + e), 1 + e]. */
static void loop(struct golden_run *r, const void *how)
{
    (void)how;
    const char *form = golden_option_text(r, "clip_form");
    const double e = golden_option(r, "epsilon", 0);
    for (int skips = 0; skips < 2; skips++) {
        struct policy_run p;
        policy_begin(r, &p, skips);
        p.a.loss = PLUMB_POLICY_CLIP, p.a.aggregation = PLUMB_AGGREGATE_ROW_MEANS;
        p.a.ratio_low = form && !strcmp(form, "code") ? 1 / (1 + e) : 1 - e;
        p.a.ratio_high = 1 + e;
        p.a.divisor = golden_option(r, "minibatch_size", 0);
        policy_report(r, &p);
    }
}

/* OpenRLHF logs the unclamped log-ratio: the k1 estimate against the policy that sampled. */
static void report_raw_kl(struct golden_run *r, const struct policy_run *p)
{
    struct golden_rows rows = golden_rows_of(r, "per_token_logps", "completion_mask");
    const struct plumb_kl a = {
        .struct_bytes = sizeof a,
        .estimator = PLUMB_KL_K1,
        .M = rows.M,
        .logp = golden_in(r, golden_packed(r, &rows, "per_token_logps"), rows.M),
        .ref_logp = golden_in(r, golden_packed(r, &rows, "old_per_token_logps"), rows.M),
        .divisor = 1,
        .kl = golden_out(r, rows.M),
    };
    if (!golden_ok(r, plumb_kl(r->dev, &a))) return;
    const double *kl = golden_read(r, &a.kl, rows.M);
    double sum = 0;
    for (int64_t m = 0; m < rows.M; m++)
        sum += kl[m];
    golden_value(r, "metrics", "ppo_kl", -sum / fmax(p->tokens, 1));
}

void policy_openrlhf(struct golden_run *r, struct policy_run *p)
{
    const char *type = golden_option_text(r, "policy_loss_type");
    const bool gspo = type && !strcmp(type, "gspo");
    const bool by_token = !gspo && golden_option(r, "token_level_loss", 1);
    p->a.loss = PLUMB_POLICY_CLIP;
    p->a.level = gspo ? PLUMB_LEVEL_MEAN : PLUMB_LEVEL_TOKEN;
    p->a.log_ratio_clamp = gspo ? 0 : 20;
    p->a.aggregation = by_token ? PLUMB_AGGREGATE_TOKENS : PLUMB_AGGREGATE_ROW_MEANS;
    p->a.divisor = (double)(by_token ? p->counts.tokens : p->counts.rows);
    p->a.ratio_low = 1 - golden_option(r, "clip_eps_low", 0.2);
    p->a.ratio_high = 1 + golden_option(r, "clip_eps_high", 0.2);
    p->a.cap = golden_option(r, "dual_clip", 0);
    policy_report(r, p);
    report_raw_kl(r, p);
}

static void openrlhf(struct golden_run *r, const void *how)
{
    (void)how;
    for (int skips = 0; skips < 2; skips++) {
        struct policy_run p;
        policy_begin(r, &p, skips);
        policy_openrlhf(r, &p);
    }
}

/* Two samples of a prompt, each as a row of one token that has the row's log-prob. */
static void p3o(struct golden_run *r, const void *how)
{
    (void)how;
    int64_t rows;
    const char *variant = golden_option_text(r, "variant");
    const double *logps = golden_input(r, "logps", &rows),
                 *old = golden_input(r, "old_logps", &rows);
    int32_t *offset = golden_alloc(r, (size_t)(rows + 1) * sizeof *offset);
    for (int64_t i = 0; i <= rows; i++)
        offset[i] = (int32_t)i;
    const struct plumb_pairwise_term term = { !strcmp(variant, "v1")   ? PLUMB_PAIR_P3O_V1
                                              : !strcmp(variant, "v2") ? PLUMB_PAIR_P3O_V2
                                                                       : PLUMB_PAIR_P3O,
                                              1 };
    const int64_t B = rows / 2;
    const struct plumb_pairwise a = {
        .struct_bytes = sizeof a,
        .B = B,
        .offset = golden_copy(r, offset, (size_t)(rows + 1) * sizeof *offset),
        .logp = golden_in(r, logps, rows),
        .ref_logp = golden_in(r, old, rows),
        .target = golden_in(r, golden_input(r, "rewards", &rows), rows),
        .terms = &term,
        .term_count = 1,
        .beta = 1,
        .gamma = golden_option(r, "epsilon", 0),
        .divisor = (double)B,
        .losses = golden_out(r, B),
        .logps = golden_out(r, rows),
        .rewards = golden_out(r, rows),
        .dlogp = golden_out(r, rows),
    };
    if (!golden_ok(r, plumb_pairwise(r->dev, &a))) return;
    const double *losses = golden_read(r, &a.losses, B);
    double sum = 0;
    for (int64_t i = 0; i < B; i++)
        sum += losses[i];
    golden_values(r, NULL, "losses", losses, B);
    golden_value(r, NULL, "loss", sum / (double)B);
    golden_values(r, "grads", "logps", golden_read(r, &a.dlogp, rows), rows);
}

#define TOKENS(loss, clamp)                                                                        \
    &(const struct kind) { loss, PLUMB_LEVEL_TOKEN, clamp, 0 }
extern const struct golden_member golden_policy_verl[];
const struct golden_member golden_policy_verl[] = {
    { "policy/ppo_dual_clip", verl, TOKENS("clip", 20) },
    { "policy/ppo_dual_clip_sampler_weights", verl, TOKENS("clip", 20) },
    { "policy/reinforce", verl, TOKENS("reinforce", 0) },
    { "policy/gpg", verl, TOKENS("reinforce", 0) },
    { "policy/cispo_two_sided", verl, TOKENS("cispo", 20) },
    { "policy/sapo_clamped", verl, TOKENS("sapo", 20) },
    { "policy/dppo_tv", verl, TOKENS("dppo_tv", 20) },
    { "policy/dppo_kl", verl, TOKENS("dppo_kl", 20) },
    { "policy/dro", verl, TOKENS("dro", 0) },
    { "policy/gspo_token", verl, &(const struct kind){ "clip", PLUMB_LEVEL_MEAN_TOKEN, 0, 10 } },
    { "policy/gmpo_log_clip", geo_mean, NULL },
    { "policy/loop", loop, NULL },
    { "policy/ppo_openrlhf", openrlhf, NULL },
    { "policy/p3o", p3o, NULL },
    { 0 },
};
