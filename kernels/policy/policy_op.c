/* Cases of the policy losses. dim: B rows, id of the formula, longest row, level, aggregation, what
 * is given (bits below), estimator of the penalty. opt: log_ratio_clamp, one-sided ends of the
 * log-ratio, row_ratio_max, kl_clamp, reach of the log-probs (0 = 1.5). */
#include <plumb/policy.h>

#include "kernels/op.h"

enum {
    OLD = 1, /* the sampling policy's log-probs */
    KL = 2,
    EACH = 4, /* an advantage for each token */
    SKIP = 8, /* targets: a third of the tokens are skipped */
    SAMPLER = 16,
    WEIGHT = 32,
    MARK = 64,
    ENTROPY = 128,
    COUNT = 256, /* entropy_count and entropy_weight */
    ROWS = 512,  /* row_weight */
    STATS = 1024,
    MEANS = 2048,   /* entropy_row_means */
    NOTHING = 4096, /* both divisors are 0 */
    PLAIN = OLD | STATS,
    ALL = OLD | KL | EACH | SKIP | SAMPLER | WEIGHT | MARK | ENTROPY | COUNT | ROWS | STATS,
};
enum {
    TOKEN = PLUMB_LEVEL_TOKEN,
    MEAN = PLUMB_LEVEL_MEAN,
    SUM = PLUMB_LEVEL_SUM,
    MEAN_TOKEN = PLUMB_LEVEL_MEAN_TOKEN
};
enum {
    SUMS = PLUMB_AGGREGATE_TOKENS,
    AVERAGES = PLUMB_AGGREGATE_ROW_MEANS,
    WHOLE = PLUMB_AGGREGATE_ROWS
};
enum {
    CLIP = PLUMB_POLICY_CLIP,
    RATIO = PLUMB_POLICY_RATIO,
    K3 = PLUMB_KL_K3,
    WEIGHTED = PLUMB_KL_K3_IMPORTANCE_WEIGHTED
};

static const struct plumb_case cases[] = {
#define PLUMB_FORMULA(ID, NAME, name, text) { #name, { 9, ID, 12, TOKEN, SUMS, ALL, K3 }, { 0 } },
#include <plumb/policy.def>
#undef PLUMB_FORMULA
#define PLUMB_FORMULA(ID, NAME, name, text)                                                        \
    { #name " of row means", { 6, ID, 12, MEAN, AVERAGES, PLAIN | MARK, K3 }, { 0 } },
#include <plumb/policy.def>
#undef PLUMB_FORMULA
#define PLUMB_FORMULA(ID, NAME, name, text)                                                        \
    { #name " of rows", { 6, ID, 5, SUM, WHOLE, PLAIN | KL, K3 }, { 0 } },
#include <plumb/policy.def>
#undef PLUMB_FORMULA
    { "on policy", { 7, CLIP, 12, TOKEN, AVERAGES, STATS | KL, K3 } },
    { "on policy, weighted penalty", { 7, CLIP, 12, TOKEN, SUMS, STATS | KL, WEIGHTED } },
    { "weighted penalty", { 7, CLIP, 12, TOKEN, AVERAGES, PLAIN | KL, WEIGHTED } },
    { "weighted penalty of row means", { 7, CLIP, 12, MEAN, AVERAGES, PLAIN | KL, WEIGHTED } },
    { "weighted penalty of rows", { 7, RATIO, 6, SUM, WHOLE, PLAIN | KL, WEIGHTED } },
    { "k1, clamped penalty",
      { 7, CLIP, 12, TOKEN, SUMS, PLAIN | KL, PLUMB_KL_K1 },
      { 0, 0, 0, 0.5 } },
    { "clamped log-ratios", { 9, CLIP, 12, TOKEN, SUMS, ALL, K3 }, { 0.5 } },
    { "clamped log-ratios of rows", { 9, RATIO, 12, MEAN, WHOLE, PLAIN | KL, K3 }, { 0.5 } },
    { "one-sided ends", { 9, RATIO, 12, MEAN, WHOLE, PLAIN | KL | SKIP, K3 }, { 0, 0.4 } },
    { "one-sided ends, token advantages",
      { 9, RATIO, 12, MEAN, WHOLE, PLAIN | EACH, K3 },
      { 0, 0.4 } },
    { "rows that end", { 9, RATIO, 4, MEAN, AVERAGES, ALL, K3 }, { 0, 0, 0.1 } },
    { "means with the tokens' gradients",
      { 9, CLIP, 9, MEAN_TOKEN, AVERAGES, ALL, K3 },
      { 0, 0, 0.1 } },
    { "sums with token advantages", { 9, CLIP, 9, SUM, SUMS, ALL, WEIGHTED }, { 0 } },
    { "entropies by row", { 9, CLIP, 9, TOKEN, AVERAGES, PLAIN | ENTROPY | MEANS, K3 } },
    { "divisors of nothing", { 5, CLIP, 9, MEAN, AVERAGES, ALL | NOTHING, K3 } },
    { "large log-ratios", { 9, CLIP, 9, TOKEN, SUMS, ALL, K3 }, { 0, 0, 0, 0, 20 } },
    { "long rows", { 3, CLIP, 3000, TOKEN, AVERAGES, PLAIN | KL, K3 } },
    { "long rows of one ratio", { 3, CLIP, 3000, MEAN, AVERAGES, PLAIN | KL, K3 } },
    { "many short rows", { 203, CLIP, 3, TOKEN, SUMS, PLAIN | KL, K3 } },
    { "many short rows of one ratio", { 203, CLIP, 3, MEAN, AVERAGES, PLAIN | KL, K3 } },
    { "no rows", { 0, CLIP, 3, TOKEN, SUMS, PLAIN | KL, K3 } },
    { "256 rows of 4k tokens",
      { 256, CLIP, 4096, TOKEN, AVERAGES, PLAIN | KL, K3 },
      .bench = true },
    { "256 rows of 4k tokens, one ratio",
      { 256, CLIP, 4096, MEAN, AVERAGES, PLAIN | KL, K3 },
      .bench = true },
};

/* Whether the gradient is not the derivative of the value, so that finite differences do not apply:
 * factors without gradient, and ratios that are 1 whatever the log-prob. */
static bool stops_gradient(const struct plumb_case *c)
{
    const int64_t loss = c->dim[1];
    return loss == PLUMB_POLICY_CISPO || loss == PLUMB_POLICY_VESPO ||
           loss == PLUMB_POLICY_DPPO_TV || loss == PLUMB_POLICY_DPPO_KL ||
           c->dim[3] == PLUMB_LEVEL_MEAN_TOKEN || !(c->dim[5] & OLD);
}

static void tensors(const struct plumb_case *c, struct plumb_case_mem *m, struct plumb_policy *a)
{
    const int64_t M = a->offset[a->B], with = c->dim[5];
    const double reach = c->opt[4] > 0 ? c->opt[4] : 1.5;
    const bool own = stops_gradient(c), whole = a->aggregation == PLUMB_AGGREGATE_ROWS;
    const enum plumb_case_role stat = PLUMB_CASE_STAT;
    plumb_case_in(m, &a->logp, own ? NULL : &a->dlogp, stat, "logp", M, -reach, 0);
    if (own) plumb_case_out(m, &a->dlogp, NULL, stat, "dlogp", M);
    if (with & OLD) plumb_case_in(m, &a->old_logp, NULL, stat, "old_logp", M, -reach, 0);
    if (with & KL) plumb_case_in(m, &a->ref_logp, NULL, stat, "ref_logp", M, -reach, 0);
    if (with & EACH)
        plumb_case_in(m, &a->token_advantage, NULL, stat, "token_advantage", M, -1, 1);
    else
        plumb_case_in(m, &a->advantage, NULL, stat, "advantage", a->B, -1, 1);
    if (with & SAMPLER) plumb_case_in(m, &a->sampler_ratio, NULL, stat, "sampler", M, 0.5, 2);
    if (with & WEIGHT) plumb_case_in(m, &a->weight, NULL, stat, "weight", M, -0.5, 1.5);
    if (with & MARK && !whole) plumb_case_in(m, &a->mark, NULL, stat, "mark", M, -1, 1);
    if (with & ROWS) plumb_case_in(m, &a->row_weight, NULL, stat, "row_weight", a->B, 0, 2);
    if (with & ENTROPY) plumb_case_in(m, &a->entropy, &a->dentropy, stat, "entropy", M, 0, 3);
    if (with & COUNT) {
        const double count = with & NOTHING ? 0 : 2.5;
        plumb_case_in(m, &a->entropy_weight, NULL, stat, "entropy_weight", M, 0, 1);
        plumb_case_in_values(m, &a->entropy_count, NULL, stat, "entropy_count", 1, &count);
    }
    plumb_case_out(m, &a->losses, NULL, stat, "losses", a->B);
    plumb_case_objective(m, &a->losses, a->divisor > 0 ? 1 / a->divisor : 0);
    if (with & STATS) plumb_case_out(m, &a->stats, NULL, stat, "stats", a->B * PLUMB_POLICY_STATS);
    if (!(with & ENTROPY)) return;
    plumb_case_out(m, &a->bonus, NULL, stat, "bonus", a->B);
    if (!(with & NOTHING))
        plumb_case_objective(m, &a->bonus, -a->entropy_coef / (with & COUNT ? 2.5 : 4));
}

static void setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_policy *a = args;
    const int64_t with = c->dim[5];
    *a = (struct plumb_policy){
        .struct_bytes = sizeof *a,
        .loss = (enum plumb_policy_loss)c->dim[1],
        .level = (enum plumb_policy_level)c->dim[3],
        .aggregation = (enum plumb_policy_aggregation)c->dim[4],
        .B = c->dim[0],
        .divisor = with & NOTHING ? 0 : 3.5,
        .ratio_low = 0.8,
        .ratio_high = 1.25,
        .cap = 2,
        .tau_positive = 1,
        .tau_negative = 1.5,
        .k_positive = 2,
        .k_negative = 3,
        .lambda_positive = 3,
        .lambda_negative = 2,
        .coef = 0.3,
        .log_ratio_clamp = c->opt[0],
        .log_ratio_low = c->opt[1],
        .log_ratio_high = c->opt[1],
        .row_ratio_max = c->opt[2],
        .beta = with & KL ? 0.25 : 0,
        .estimator = (enum plumb_kl_estimator)c->dim[6],
        .kl_clamp = c->opt[3],
        .entropy_row_means = (with & MEANS) != 0,
        .entropy_coef = 0.5,
        .entropy_divisor = with & NOTHING ? 0 : 4,
    };
    if (a->loss == PLUMB_POLICY_DPPO_TV || a->loss == PLUMB_POLICY_DPPO_KL)
        a->ratio_low = 0.1, a->ratio_high = 0.15;
    int32_t *offset = plumb_case_index(m, a->B + 1);
    for (int64_t r = 0; r < a->B; r++) /* one row is empty */
        offset[r + 1] = offset[r] +
                        (int32_t)(r == 2 ? 0 : 1 + plumb_case_below(m, (uint64_t)c->dim[2]));
    a->offset = offset;
    int32_t *target = with & SKIP ? plumb_case_index(m, offset[a->B]) : NULL;
    for (int64_t i = 0; target && i < offset[a->B]; i++)
        target[i] = (int32_t)plumb_case_below(m, 3) - 1;
    a->target = target;
    tensors(c, m, a);
}

/* Reads logp, old_logp and ref_logp, writes dlogp; half of the longest length is the mean. */
static double bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    (void)elem;
    return backward ? 0 : 8.0 * (double)c->dim[0] * (double)(c->dim[2] + 1);
}

static int fwd(const struct plumb_device *d, const void *a) { return plumb_policy(d, a); }
static void fwd_ref(const void *a, enum plumb_dtype round) { plumb_policy_ref(a, round); }

extern const struct plumb_op plumb_op_policy[];
const struct plumb_op plumb_op_policy[] = {
    { .name = "policy",
      .cases = cases,
      .case_count = sizeof cases / sizeof *cases,
      .args_bytes = sizeof(struct plumb_policy),
      .setup = setup,
      .fwd = fwd,
      .fwd_ref = fwd_ref,
      .bytes = bytes,
      .f32_only = true },
    { 0 },
};
