/* Adapters of golden/losses/supervised: padded rows become one run of tokens. */
#include <math.h>
#include <plumb/pointwise.h>
#include <plumb/supervised.h>

#include "tests/golden_run.h"

static struct plumb_supervised call_of(struct golden_run *r, const struct golden_rows *rows,
                                       const char *loss, const double *weight, double divisor)
{
    return (struct plumb_supervised){
        .struct_bytes = sizeof(struct plumb_supervised),
        .loss = (enum plumb_supervised_loss)plumb_supervised_find(loss),
        .M = rows->M,
        .logp = golden_in(r, golden_packed(r, rows, "per_token_logps"), rows->M),
        .weight = golden_in(r, weight, rows->M),
        .divisor = divisor,
        .losses = golden_out(r, rows->M),
        .dlogp = golden_out(r, rows->M),
    };
}

/* Runs a call; reports the gradients and returns the losses, NULL when it fails. */
static const double *run_call(struct golden_run *r, const struct golden_rows *rows,
                              const struct plumb_supervised *a)
{
    if (!golden_ok(r, plumb_supervised(r->dev, a))) return NULL;
    golden_packed_values(r, rows, "grads", "per_token_logps", golden_read(r, &a->dlogp, rows->M));
    return golden_read(r, &a->losses, rows->M);
}

static double sum_of(const double *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += x[i];
    return sum;
}

/* `how` is the formula's name. */
static void token_mean(struct golden_run *r, const void *how)
{
    const struct golden_rows rows = golden_rows_of(r, "per_token_logps", "completion_mask");
    const double divisor = golden_option(r, "num_items_in_batch", fmax((double)rows.M, 1));
    const struct plumb_supervised a = call_of(r, &rows, how, NULL, divisor);
    const double *losses = run_call(r, &rows, &a);
    if (losses) golden_value(r, NULL, "loss", sum_of(losses, rows.M) / divisor);
}

/* What a mean over rows is to tokens: their weights and the divisor. `how` NULL: means of rows that
 * have tokens; else the input that weights sums of rows. */
static void row_mean(struct golden_run *r, const void *how)
{
    const struct golden_rows rows = golden_rows_of(r, "per_token_logps", "completion_mask");
    double *weight = golden_alloc(r, (size_t)rows.M * sizeof *weight), filled = 0;
    double *row = golden_alloc(r, (size_t)rows.B * sizeof *row);
    const double *given = how ? golden_packed(r, &rows, how) : NULL;
    for (int64_t i = 0; i < rows.B; i++) {
        const int32_t first = rows.offset[i], end = rows.offset[i + 1];
        filled += end > first;
        for (int32_t m = first; m < end; m++)
            weight[m] = how ? given[m] : 1 / (double)(end - first);
    }
    const double divisor = how ? (double)rows.B : fmax(filled, 1);
    const struct plumb_supervised a = call_of(r, &rows, "nll", weight, divisor);
    const double *losses = run_call(r, &rows, &a);
    if (!losses) return;
    for (int64_t i = 0; i < rows.B; i++)
        row[i] = sum_of(losses + rows.offset[i], rows.offset[i + 1] - rows.offset[i]);
    golden_values(r, NULL, "losses", row, rows.B);
    golden_value(r, NULL, "loss", sum_of(row, rows.B) / divisor);
}

/* Weighted likelihood and the regression of the values, each with its share as weight. */
static void awr(struct golden_run *r, const void *how)
{
    (void)how;
    const struct golden_rows rows = golden_rows_of(r, "per_token_logps", "completion_mask");
    const double alpha = golden_option(r, "alpha", 1), divisor = fmax((double)rows.M, 1);
    double *share[2] = { golden_alloc(r, (size_t)rows.M * 8), golden_alloc(r, (size_t)rows.M * 8) };
    for (int64_t m = 0; m < rows.M; m++)
        share[0][m] = alpha, share[1][m] = 1 - alpha;
    struct plumb_supervised a = call_of(r, &rows, "awr", share[0], divisor);
    a.reward = golden_in(r, golden_packed(r, &rows, "rewards"), rows.M);
    a.value = golden_in(r, golden_packed(r, &rows, "values"), rows.M);
    a.beta = golden_option(r, "beta", 1);
    a.max_weight = golden_option(r, "max_weight", 1);
    const double *losses = run_call(r, &rows, &a);
    const struct plumb_pointwise v = { .struct_bytes = sizeof v,
                                       .loss = PLUMB_POINTWISE_SQUARE,
                                       .N = rows.M,
                                       .score = a.value,
                                       .target = a.reward,
                                       .weight = golden_in(r, share[1], rows.M),
                                       .divisor = divisor,
                                       .losses = golden_out(r, rows.M),
                                       .dscore = golden_out(r, rows.M) };
    if (!losses || !golden_ok(r, plumb_pointwise(r->dev, &v))) return;
    const double *squares = golden_read(r, &v.losses, rows.M);
    golden_value(r, NULL, "loss", (sum_of(losses, rows.M) + sum_of(squares, rows.M)) / divisor);
    golden_packed_values(r, &rows, "grads", "values", golden_read(r, &v.dscore, rows.M));
}

extern const struct golden_member golden_supervised[];
const struct golden_member golden_supervised[] = {
    { "supervised/nll", token_mean, "nll" },
    { "supervised/dft", token_mean, "dft" },
    { "supervised/nll_sequence_mean", row_mean, NULL },
    { "supervised/weighted_nll", row_mean, "weights" },
    { "supervised/awr", awr, NULL },
    { 0 },
};
