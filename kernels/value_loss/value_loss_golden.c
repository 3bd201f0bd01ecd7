/* Adapters of the goldens with a value loss: golden/losses/policy/value_clip and ppo. */
#include <math.h>
#include <plumb/value.h>
#include <string.h>

#include "tests/policy_golden.h"

/* Runs the loss on the tokens under `mask`; *tokens and *clipped are their counts. */
static double value_loss(struct golden_run *r, const char *mask, double divisor,
                         enum plumb_policy_aggregation aggregation, double coef, double *tokens,
                         double *clipped)
{
    const struct golden_rows rows = golden_rows_of(r, "values", mask);
    const size_t bytes = (size_t)(rows.B + 1) * sizeof *rows.offset;
    const struct plumb_value_loss a = {
        .struct_bytes = sizeof a,
        .aggregation = aggregation,
        .B = rows.B,
        .offset = golden_copy(r, rows.offset, bytes),
        .value = golden_in(r, golden_packed(r, &rows, "values"), rows.M),
        .old_value = golden_in(r, golden_packed(r, &rows, "old_values"), rows.M),
        .returns = golden_in(r, golden_packed(r, &rows, "returns"), rows.M),
        .cliprange = golden_option(r, "cliprange_value", 0),
        .divisor = (divisor > 0 ? divisor : (double)rows.M) / coef,
        .losses = golden_out(r, rows.B),
        .clipped = golden_out(r, rows.B),
        .dvalue = golden_out(r, rows.M),
    };
    *tokens = (double)rows.M, *clipped = 0;
    if (!golden_ok(r, plumb_value_loss(r->dev, &a))) return 0;
    const double *losses = golden_read(r, &a.losses, rows.B);
    const double *counts = golden_read(r, &a.clipped, rows.B);
    double sum = 0;
    for (int64_t b = 0; b < rows.B; b++)
        sum += losses[b], *clipped += counts[b];
    golden_packed_values(r, &rows, "grads", "values", golden_read(r, &a.dvalue, rows.M));
    return a.divisor > 0 ? sum / a.divisor : 0;
}

static void value_clip(struct golden_run *r, const void *how)
{
    (void)how;
    const char *mode = golden_option_text(r, "loss_agg_mode");
    const struct golden_rows all = golden_rows_of(r, "values", "completion_mask");
    double rows = 0, tokens, clipped;
    for (int64_t b = 0; b < all.B; b++)
        rows += all.offset[b + 1] > all.offset[b];
    const bool by_token = !strcmp(mode, "token-mean");
    const bool norm = !strcmp(mode, "seq-mean-token-sum-norm");
    const bool means = !strcmp(mode, "seq-mean-token-mean");
    const double divisor = norm ? rows * (double)all.T : rows;
    golden_value(r, NULL, "loss",
                 value_loss(r, "completion_mask", by_token ? (double)all.M : divisor,
                            means ? PLUMB_AGGREGATE_ROW_MEANS : PLUMB_AGGREGATE_TOKENS, 1, &tokens,
                            &clipped));
}

/* TRL's PPO: token means of both losses under masks of their own. */
static void ppo(struct golden_run *r, const void *how)
{
    (void)how;
    const double coef = golden_option(r, "vf_coef", 0), clip = golden_option(r, "cliprange", 0);
    struct policy_run p;
    double tokens, clipped;
    policy_begin(r, &p, false);
    if (!golden_ok(r, plumb_policy_preset("ppo", &p.counts, clip, clip, 0, &p.a))) return;
    if (!policy_finish(r, &p)) return;
    const double value = value_loss(r, "value_mask", 0, PLUMB_AGGREGATE_TOKENS, coef, &tokens,
                                    &clipped);
    golden_value(r, "metrics", "loss/policy", p.loss);
    golden_value(r, "metrics", "loss/value", value / coef);
    golden_value(r, "metrics", "val/clipfrac", clipped / fmax(tokens, 1));
    golden_value(r, NULL, "loss", p.loss + value);
}

extern const struct golden_member golden_value_loss[];
const struct golden_member golden_value_loss[] = {
    { "policy/value_clip", value_clip, NULL },
    { "policy/ppo", ppo, NULL },
    { 0 },
};
