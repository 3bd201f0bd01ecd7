/* Adapters of golden/losses/advantages for estimates per token. Rows stay whole: what the mask
 * leaves out is skipped by the op. */
#include <plumb/gae.h>

#include "tests/golden_run.h"

static const int32_t *counted(struct golden_run *r)
{
    int64_t n;
    const double *mask = golden_input(r, "completion_mask", &n);
    int32_t *out = golden_alloc(r, (size_t)n * sizeof *out);
    for (int64_t i = 0; i < n; i++)
        out[i] = mask[i] != 0;
    return golden_copy(r, out, (size_t)n * sizeof *out);
}

static void tokens(struct golden_run *r, const void *how)
{
    (void)how;
    int64_t n;
    const struct golden_rows rows = golden_rows_of(r, "token_level_rewards", NULL);
    const struct plumb_gae a = {
        .struct_bytes = sizeof a,
        .R = rows.B,
        .offset = golden_copy(r, rows.offset, (size_t)(rows.B + 1) * sizeof *rows.offset),
        .counted = counted(r),
        .reward = golden_in(r, golden_packed(r, &rows, "token_level_rewards"), rows.M),
        .value = golden_in(r, golden_packed(r, &rows, "values"), rows.M),
        .baseline = golden_in(r, golden_input(r, "reward_baselines", &n), rows.B),
        .gamma = golden_option(r, "gamma", 1),
        .lambda = golden_option(r, "lam", 1),
        .advantage = golden_out(r, rows.M),
        .returns = golden_out(r, rows.M),
    };
    if (!golden_ok(r, plumb_gae(r->dev, &a))) return;
    golden_packed_values(r, &rows, NULL, "advantages", golden_read(r, &a.advantage, rows.M));
    golden_packed_values(r, &rows, NULL, "returns", golden_read(r, &a.returns, rows.M));
}

extern const struct golden_member golden_gae[];
const struct golden_member golden_gae[] = {
    { "advantages/gae", tokens, NULL },
    { "advantages/discounted_returns", tokens, NULL },
    { "advantages/remax", tokens, NULL },
    { 0 },
};
