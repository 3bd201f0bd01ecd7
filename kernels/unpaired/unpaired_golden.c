/* Adapters of golden/losses/unpaired. A sum of log-probs stands at the first of a completion's
 * tokens; the gradient is read from its last. */
#include <math.h>
#include <plumb/tokenwise.h>
#include <plumb/unpaired.h>
#include <string.h>

#include "tests/golden_run.h"

enum { TOKENS = 3 }; /* of a completion whose sum is given */

static const int32_t *runs(struct golden_run *r, int64_t rows, int64_t tokens)
{
    int32_t *offset = golden_alloc(r, (size_t)(rows + 1) * sizeof *offset);
    for (int64_t i = 0; i <= rows; i++)
        offset[i] = (int32_t)(i * tokens);
    return golden_copy(r, offset, (size_t)(rows + 1) * sizeof *offset);
}

static struct plumb_tensor sums(struct golden_run *r, const char *name)
{
    int64_t n;
    const double *in = golden_input(r, name, &n);
    double *logp = golden_alloc(r, (size_t)(n * TOKENS) * sizeof *logp);
    for (int64_t i = 0; i < n; i++)
        logp[TOKENS * i] = in[i];
    return golden_in(r, logp, n * TOKENS);
}

static const int32_t *labels(struct golden_run *r, const char *name)
{
    int64_t n;
    const double *in = golden_input(r, name, &n);
    if (!in) return NULL;
    int32_t *label = golden_alloc(r, (size_t)n * sizeof *label);
    for (int64_t i = 0; i < n; i++)
        label[i] = in[i] > 0;
    return golden_copy(r, label, (size_t)n * sizeof *label);
}

static struct plumb_unpaired call_of(struct golden_run *r, const char *loss, int64_t B, int64_t M)
{
    return (struct plumb_unpaired){
        .struct_bytes = sizeof(struct plumb_unpaired),
        .loss = (enum plumb_unpaired_loss)plumb_unpaired_find(loss),
        .B = B,
        .beta = golden_option(r, "beta", golden_option(r, "beta2", 1)),
        .desirable_weight = golden_option(r, "desirable_weight", 1),
        .undesirable_weight = golden_option(r, "undesirable_weight",
                                            golden_option(r, "neg_weight", 1)),
        .divisor = golden_option(r, "loss_divisor", (double)B),
        .lambda = golden_option(r, "kl_beta", 0),
        .clip = golden_option(r, "clip", 0),
        .clamp_negative = golden_option(r, "clamp_negative", 1),
        .normalize = golden_option(r, "normalize", 0),
        .losses = golden_out(r, B),
        .logps = golden_out(r, B),
        .rewards = golden_out(r, B),
        .dlogp = golden_out(r, M),
    };
}

static double sum_of(const double *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += x[i];
    return sum;
}

static bool run(struct golden_run *r, const struct plumb_unpaired *a)
{
    if (!golden_ok(r, plumb_unpaired(r->dev, a))) return false;
    const double *losses = golden_read(r, &a->losses, a->B);
    golden_values(r, NULL, "losses", losses, a->B);
    golden_value(r, NULL, "loss", sum_of(losses, a->B) / a->divisor);
    return true;
}

/* ---- losses on sums ---- */

static void class_metrics(struct golden_run *r, const struct plumb_unpaired *a)
{
    static const char *const names[2][3] = {
        { "rewards/rejected", "logps/rejected", "rewards/rejected_sum" },
        { "rewards/chosen", "logps/chosen", "rewards/chosen_sum" }
    };
    int64_t n;
    const double *label = golden_input(r, "labels", &n);
    const double *reward = golden_read(r, &a->rewards, a->B), *logp = golden_read(r, &a->logps, n);
    double sum[2][3] = { 0 }, rows[2] = { 0 };
    for (int64_t i = 0; label && i < n; i++) {
        const int side = label[i] > 0;
        sum[side][0] += reward[i], sum[side][1] += logp[i], sum[side][2] += reward[i];
        rows[side]++;
    }
    for (int side = 0; side < 2; side++)
        for (int k = 0; k < 3; k++)
            golden_value(r, "metrics", names[side][k], sum[side][k] / (k < 2 ? rows[side] : 1));
    golden_value(r, "metrics", "rewards/margins", sum[1][0] / rows[1] - sum[0][0] / rows[0]);
    golden_value(r, "metrics", "implicit_reward", sum_of(reward, a->B) / (double)a->B);
}

/* The mean of the target over the value is the trainer's metric, made of inputs alone. */
static void target_metrics(struct golden_run *r, int64_t n)
{
    const double *target = golden_input(r, "rewards", &n), *value = golden_input(r, "v_star", &n);
    if (target && value)
        golden_value(r, "metrics", "advantage", (sum_of(target, n) - sum_of(value, n)) / (double)n);
}

static struct plumb_tensor reference_point(struct golden_run *r)
{
    int64_t n;
    struct plumb_kto_kl a = { .struct_bytes = sizeof a, .kl = golden_out(r, 1) };
    const double given[1] = { golden_option(r, "kl", 0) };
    if (!golden_input(r, "policy_kl_logps", &n)) {
        golden_value(r, "metrics", "kl", fmax(given[0], 0));
        return golden_in(r, given, 1);
    }
    a.B = n, a.offset = runs(r, n, TOKENS);
    a.logp = sums(r, "policy_kl_logps");
    a.ref_logp = sums(r, "ref_kl_logps");
    if (golden_ok(r, plumb_kto_kl(r->dev, &a)))
        golden_values(r, "metrics", "kl", golden_read(r, &a.kl, 1), 1);
    return a.kl;
}

/* BCO weighs undesirable rows alone. */
static struct plumb_tensor row_weights(struct golden_run *r)
{
    int64_t n;
    const double *given = golden_input(r, "rejected_weights", &n);
    const double *label = golden_input(r, "labels", &n);
    if (!given || !(golden_option(r, "use_weights", 0) > 0)) return (struct plumb_tensor){ 0 };
    double *weight = golden_alloc(r, (size_t)n * sizeof *weight);
    for (int64_t i = 0; i < n; i++)
        weight[i] = label[i] > 0 ? 1 : given[i];
    return golden_in(r, weight, n);
}

static void by_sums(struct golden_run *r, const void *how)
{
    int64_t n;
    golden_input(r, "policy_logps", &n);
    const double delta = golden_option(r, "delta", 0);
    struct plumb_unpaired a = call_of(r, how, n, n * TOKENS);
    a.offset = runs(r, n, TOKENS);
    a.label = labels(r, "labels");
    a.logp = sums(r, "policy_logps");
    a.ref_logp = sums(r, "ref_logps");
    a.kl = reference_point(r);
    a.shift = golden_in(r, &delta, 1);
    a.target = golden_in(r, golden_input(r, "rewards", &n), n);
    a.value = golden_in(r, golden_input(r, "v_star", &n), n);
    a.weight = row_weights(r);
    if (!run(r, &a)) return;
    const double *dlogp = golden_read(r, &a.dlogp, a.B * TOKENS);
    double *last = golden_alloc(r, (size_t)a.B * sizeof *last);
    for (int64_t i = 0; i < a.B; i++)
        last[i] = dlogp[TOKENS * i + TOKENS - 1];
    golden_values(r, "grads", "policy_logps", last, a.B);
    golden_value(r, "metrics", "delta", delta);
    class_metrics(r, &a);
    target_metrics(r, a.B);
}

/* ---- losses on tokens ---- */

/* An advantage below 0 leaves its completion out where the case says so. */
static struct plumb_tensor advantages(struct golden_run *r)
{
    int64_t n;
    const double *in = golden_input(r, "advantages", &n);
    if (!in) return (struct plumb_tensor){ 0 };
    double *out = golden_alloc(r, (size_t)n * sizeof *out);
    for (int64_t i = 0; i < n; i++)
        out[i] = golden_option(r, "clamp_advantage", 0) > 0 ? fmax(in[i], 0) : in[i];
    return golden_in(r, out, n);
}

static struct plumb_tensor targets(struct golden_run *r)
{
    int64_t n;
    const double *rates = golden_input(r, "correct_rates", &n);
    return rates ? golden_in(r, rates, n) : advantages(r);
}

static const double *other_logps(struct golden_run *r, const struct golden_rows *rows)
{
    const double *old = golden_packed(r, rows, "old_per_token_logps");
    return old ? old : golden_packed(r, rows, "ref_per_token_logps");
}

static const int32_t *row_labels(struct golden_run *r)
{
    const int32_t *correct = labels(r, "correct_labels");
    return correct ? correct : labels(r, "labels");
}

static void whole(struct golden_run *r, const struct golden_rows *rows, const char *loss)
{
    struct plumb_unpaired a = call_of(r, loss, rows->B, rows->M);
    a.offset = golden_copy(r, rows->offset, (size_t)(rows->B + 1) * sizeof *rows->offset);
    a.label = row_labels(r);
    a.logp = golden_in(r, golden_packed(r, rows, "per_token_logps"), rows->M);
    a.ref_logp = golden_in(r, other_logps(r, rows), rows->M);
    a.target = targets(r);
    if (run(r, &a))
        golden_packed_values(r, rows, "grads", "per_token_logps",
                             golden_read(r, &a.dlogp, rows->M));
}

static void by_token(struct golden_run *r, const struct golden_rows *rows, const char *loss,
                     double divisor)
{
    const double w = golden_option(r, "alpha", golden_option(r, "neg_weight", 1));
    const struct plumb_tokenwise a = {
        .struct_bytes = sizeof a,
        .loss = (enum plumb_tokenwise_loss)plumb_tokenwise_find(loss),
        .B = rows->B,
        .offset = golden_copy(r, rows->offset, (size_t)(rows->B + 1) * sizeof *rows->offset),
        .label = row_labels(r),
        .logp = golden_in(r, golden_packed(r, rows, "per_token_logps"), rows->M),
        .ref_logp = golden_in(r, other_logps(r, rows), rows->M),
        .target = targets(r),
        .divisor = divisor,
        .losses = golden_out(r, rows->B),
        .dlogp = golden_out(r, rows->M),
        .undesirable_weight = w,
        .clip = golden_option(r, "clip", 0),
        .clamp_negative = golden_option(r, "clamp_negative", 1),
        .normalize = golden_option(r, "normalize", 0),
    };
    if (!golden_ok(r, plumb_tokenwise(r->dev, &a))) return;
    const double *losses = golden_read(r, &a.losses, a.B);
    golden_values(r, NULL, "losses", losses, a.B);
    golden_value(r, NULL, "loss", sum_of(losses, a.B) / divisor);
    golden_packed_values(r, rows, "grads", "per_token_logps", golden_read(r, &a.dlogp, rows->M));
}

static void unlikelihood(struct golden_run *r, const void *how)
{
    const struct golden_rows rows = golden_rows_of(r, "per_token_logps", "completion_mask");
    by_token(r, &rows, how, fmax((double)rows.M, 1));
}

static void nft(struct golden_run *r, const void *how)
{
    const struct golden_rows rows = golden_rows_of(r, "per_token_logps", "completion_mask");
    if (!strcmp(golden_option_text(r, "ratio_type"), "token"))
        by_token(r, &rows, how, golden_option(r, "loss_divisor", 1));
    else
        whole(r, &rows, "nft");
}

static void a_lol(struct golden_run *r, const void *how)
{
    const struct golden_rows rows = golden_rows_of(r, "per_token_logps", "completion_mask");
    const char *variant = golden_option_text(r, "variant");
    if (!strcmp(variant, "a_lol_seq"))
        by_token(r, &rows, variant, (double)rows.B);
    else
        whole(r, &rows, strcmp(variant, "a_lol") ? "signed_nll" : how);
}

/* ---- the running mean of rewards ---- */

/* The state goes from batch to batch on the device; a reward is a run of one token. */
static void running_delta(struct golden_run *r, const void *how)
{
    (void)how;
    int64_t n, steps;
    const double *rewards = golden_input(r, "rewards", &n);
    const double *count = golden_input(r, "num_rewards", &steps);
    const int64_t K = n / steps;
    double *mean = golden_alloc(r, (size_t)steps * sizeof *mean);
    double *variance = golden_alloc(r, (size_t)steps * sizeof *variance);
    double *none = golden_alloc(r, 3 * sizeof *none);
    double *state = (double *)(uintptr_t)golden_copy(r, none, 3 * sizeof *none);
    for (int64_t s = 0; s < steps; s++) {
        struct plumb_bco_delta a = {
            .struct_bytes = sizeof a,
            .B = (int64_t)count[s],
            .offset = runs(r, K, 1),
            .logp = golden_in(r, rewards + s * K, K),
            .beta = 1,
            .before = state,
            .after = state,
            .delta = golden_out(r, 1),
            .variance = golden_out(r, 1),
        };
        if (!golden_ok(r, plumb_bco_delta(r->dev, &a))) break;
        mean[s] = golden_read(r, &a.delta, 1)[0];
        variance[s] = golden_read(r, &a.variance, 1)[0];
    }
    golden_values(r, NULL, "running_mean", mean, steps);
    golden_values(r, NULL, "running_var", variance, steps);
}

extern const struct golden_member golden_unpaired[];
const struct golden_member golden_unpaired[] = {
    { "unpaired/kto", by_sums, "kto" },
    { "unpaired/kto_given_kl", by_sums, "kto" },
    { "unpaired/apo_zero_unpaired", by_sums, "apo_zero_unpaired" },
    { "unpaired/bco", by_sums, "bco" },
    { "unpaired/a_star_po", by_sums, "a_star_po" },
    { "unpaired/a_lol", a_lol, "a_lol" },
    { "unpaired/nft", nft, "nft_token" },
    { "unpaired/unlikelihood", unlikelihood, "unlikelihood" },
    { "unpaired/bco_running_delta", running_delta, NULL },
    { 0 },
};
