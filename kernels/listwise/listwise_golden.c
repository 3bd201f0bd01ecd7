/* Adapters of golden/losses/listwise. Scores are given padded, under the mask, and once more
 * packed; a log-prob sum stands at the first token of a run of the candidate's length. */
#include <math.h>
#include <plumb/listwise.h>
#include <string.h>

#include "tests/golden_run.h"

static bool says(struct golden_run *r, const char *option, const char *word)
{
    const char *text = golden_option_text(r, option);
    return text && !strcmp(text, word);
}

static enum plumb_listwise_loss formula(struct golden_run *r, const char *name)
{
    if (says(r, "normalize", "max_dcg")) name = "lambda_ndcg";
    if (says(r, "target", "normalized")) name = "list_net_ratio";
    if (golden_option(r, "weight_by_label_gap", 0) > 0) name = "pair_logistic_gap";
    return (enum plumb_listwise_loss)plumb_listwise_find(name);
}

/* Lists of the rows' candidates, with what all members have. */
static struct plumb_listwise lists(struct golden_run *r, const char *name,
                                   const struct golden_rows *rows, const char *labels)
{
    const double alpha = golden_option(r, "alpha", 1), beta = golden_option(r, "beta", alpha);
    struct plumb_listwise a = {
        .struct_bytes = sizeof a,
        .loss = formula(r, name),
        .L = rows->B,
        .C = rows->M,
        .list = golden_copy(r, rows->offset, (size_t)(rows->B + 1) * sizeof *rows->offset),
        .label = golden_in(r, golden_packed(r, rows, labels), rows->M),
        .beta = golden_option(r, "sigma", 1),
        .label_temperature = golden_option(r, "label_temperature", beta),
        .margin = golden_option(r, "margin", 0),
        .lambda = golden_option(r, "rrhf_weight", 0),
        .top_k = (int64_t)golden_option(r, "top_k", 0),
        .divisor = (double)rows->B,
        .losses = golden_out(r, rows->B),
        .dscore = golden_out(r, rows->M),
    };
    a.work = golden_out(r, (int64_t)plumb_listwise_workspace(r->dev, &a) / 4);
    return a;
}

static double sum_of(const double *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += x[i];
    return sum;
}

static void report(struct golden_run *r, const struct plumb_listwise *a,
                   const struct golden_rows *rows, const char *input)
{
    if (!golden_ok(r, plumb_listwise(r->dev, a))) return;
    const double *losses = golden_read(r, &a->losses, a->L);
    golden_values(r, NULL, "losses", losses, a->L);
    golden_value(r, NULL, "loss", sum_of(losses, a->L) / a->divisor);
    golden_packed_values(r, rows, "grads", input, golden_read(r, &a->dscore, a->C));
}

/* The discount by another logarithm scales every weight, unless the ideal DCG has it too. */
static struct plumb_tensor discount(struct golden_run *r, int64_t L)
{
    if (!says(r, "discount", "log2") || says(r, "normalize", "max_dcg"))
        return (struct plumb_tensor){ 0 };
    double *weight = golden_alloc(r, (size_t)L * sizeof *weight);
    for (int64_t l = 0; l < L; l++)
        weight[l] = log(2);
    return golden_in(r, weight, L);
}

static void scores_in(struct golden_run *r, const char *name, const struct golden_rows *rows,
                      const int32_t *mask, double divisor)
{
    struct plumb_listwise a = lists(r, name, rows, "labels");
    a.score = golden_in(r, golden_packed(r, rows, "scores"), a.C);
    a.mask = mask;
    a.weight = discount(r, a.L);
    if (divisor > 0) a.divisor = divisor;
    report(r, &a, rows, "scores");
}

static void both_ways(struct golden_run *r, const char *name, double divisor)
{
    int64_t n;
    const double *present = golden_input(r, "mask", &n);
    int32_t *mask = golden_alloc(r, (size_t)n * sizeof *mask);
    for (int64_t i = 0; i < n; i++)
        mask[i] = present[i] != 0;
    const struct golden_rows padded = golden_rows_of(r, "scores", NULL);
    const struct golden_rows packed = golden_rows_of(r, "scores", "mask");
    scores_in(r, name, &padded, golden_copy(r, mask, (size_t)n * sizeof *mask), divisor);
    scores_in(r, name, &packed, NULL, divisor);
}

static void score(struct golden_run *r, const void *how) { both_ways(r, how, 0); }

/* The mean over the pairs of all lists is the sum with their number as divisor. */
static void pair_mean(struct golden_run *r, const void *how)
{
    const struct golden_rows rows = golden_rows_of(r, "scores", "mask");
    const double *label = golden_packed(r, &rows, "labels");
    double pairs = 0;
    for (int64_t b = 0; b < rows.B; b++)
        for (int64_t i = rows.offset[b]; i < rows.offset[b + 1]; i++)
            for (int64_t j = rows.offset[b]; j < rows.offset[b + 1]; j++)
                pairs += label[i] > label[j];
    both_ways(r, how, fmax(pairs, 1));
}

static void log_probs(struct golden_run *r, const void *how)
{
    const struct golden_rows rows = golden_rows_of(r, "logps", "mask");
    struct plumb_listwise a = lists(r, how, &rows, "rewards");
    const double *length = golden_packed(r, &rows, "lengths");
    const double *sum = golden_packed(r, &rows, "logps");
    int32_t *offset = golden_alloc(r, (size_t)(a.C + 1) * sizeof *offset);
    for (int64_t c = 0; c < a.C; c++)
        offset[c + 1] = offset[c] + (int32_t)length[c];
    const int64_t tokens = offset[a.C];
    double *logp = golden_alloc(r, (size_t)tokens * sizeof *logp);
    for (int64_t c = 0; c < a.C; c++)
        logp[offset[c]] = sum[c];
    a.offset = golden_copy(r, offset, (size_t)(a.C + 1) * sizeof *offset);
    a.logp = golden_in(r, logp, tokens);
    a.scores = golden_out(r, a.C);
    a.logps = golden_out(r, a.C);
    a.dlogp = golden_out(r, tokens);
    a.length_penalty = golden_option(r, "length_penalty", 1);
    a.sft_weight = golden_option(r, "beta_sft", golden_option(r, "sft_weight", 0));
    a.sft_length_penalty = says(r, "sft_reduction", "mean") ? 1 : 0;
    report(r, &a, &rows, "logps");
    const double *dlogp = golden_read(r, &a.dlogp, tokens);
    double *last = golden_alloc(r, (size_t)a.C * sizeof *last);
    for (int64_t c = 0; c < a.C; c++)
        last[c] = dlogp[offset[c + 1] - 1];
    golden_packed_values(r, &rows, "grads", "logps", last);
}

extern const struct golden_member golden_listwise[];
const struct golden_member golden_listwise[] = {
    { "listwise/pair_logistic", score, "pair_logistic" },
    { "listwise/pair_logistic_mean", pair_mean, "pair_logistic" },
    { "listwise/pair_hinge", score, "pair_hinge" },
    { "listwise/lambda_rank", score, "lambda_rank" },
    { "listwise/list_mle", score, "list_mle" },
    { "listwise/list_net", score, "list_net" },
    { "listwise/info_nca", score, "list_net" },
    { "listwise/nca", score, "nca" },
    { "listwise/point_mse", score, "point_mse" },
    { "listwise/point_sigmoid", score, "point_sigmoid" },
    { "listwise/sppo_k", score, "sppo_k" },
    { "listwise/pro", log_probs, "pro" },
    { "listwise/rrhf", log_probs, "rrhf" },
    { 0 },
};
