/* Adapters of golden/losses/supervised: padded rows become one run of tokens. */
#include <math.h>
#include <plumb/supervised.h>

#include "tests/golden_run.h"

/* `how` is the formula's name. */
static void token_mean(struct golden_run *r, const void *how)
{
    const struct golden_rows rows = golden_rows_of(r, "per_token_logps", "completion_mask");
    const double divisor = golden_option(r, "num_items_in_batch", fmax((double)rows.M, 1));
    const struct plumb_supervised a = {
        .struct_bytes = sizeof a,
        .loss = (enum plumb_supervised_loss)plumb_supervised_find(how),
        .M = rows.M,
        .logp = golden_in(r, golden_packed(r, &rows, "per_token_logps"), rows.M),
        .divisor = divisor,
        .losses = golden_out(r, rows.M),
        .dlogp = golden_out(r, rows.M),
    };
    if (!golden_ok(r, plumb_supervised(r->dev, &a))) return;
    const double *losses = golden_read(r, &a.losses, rows.M);
    double sum = 0;
    for (int64_t m = 0; m < rows.M; m++)
        sum += losses[m];
    golden_value(r, NULL, "loss", sum / divisor);
    golden_packed_values(r, &rows, "grads", "per_token_logps", golden_read(r, &a.dlogp, rows.M));
}

extern const struct golden_member golden_supervised[];
const struct golden_member golden_supervised[] = {
    { "supervised/nll", token_mean, "nll" },
    { "supervised/dft", token_mean, "dft" },
    { 0 },
};
