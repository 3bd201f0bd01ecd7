/* Adapters of Nash-MD's regularised policy gradient, golden/losses/pairwise: a likelihood whose
 * weights are the preference for a response and what its KL to the reference costs each token, its
 * own or, causal, that of all tokens from it on. Four ops, none of its own. */
#include <plumb/gae.h>
#include <plumb/kl.h>
#include <plumb/reduce.h>
#include <plumb/supervised.h>

#include "tests/golden_run.h"

struct responses {
    struct golden_rows rows;
    const int32_t *offset; /* on the device */
    struct plumb_tensor logp, ref_logp;
    const double *prob;
};

/* factor (logp - ref_logp) of each token. */
static bool log_ratios(struct golden_run *r, const struct responses *q, double factor,
                       struct plumb_tensor out)
{
    double *weight = golden_alloc(r, (size_t)q->rows.M * sizeof *weight);
    for (int64_t m = 0; m < q->rows.M; m++)
        weight[m] = factor;
    const struct plumb_kl a = { .struct_bytes = sizeof a,
                                .estimator = PLUMB_KL_K1,
                                .M = q->rows.M,
                                .logp = q->logp,
                                .ref_logp = q->ref_logp,
                                .weight = golden_in(r, weight, q->rows.M),
                                .divisor = 1,
                                .kl = out };
    return golden_ok(r, plumb_kl(r->dev, &a));
}

/* P - 1/2 minus the price of a token: returns of negative log-ratios over a baseline. */
static bool weigh(struct golden_run *r, const struct responses *q, bool causal,
                  struct plumb_tensor price, struct plumb_tensor weight)
{
    double *base = golden_alloc(r, (size_t)q->rows.B * sizeof *base);
    for (int64_t b = 0; b < q->rows.B; b++)
        base[b] = 0.5 - q->prob[b];
    const struct plumb_gae a = { .struct_bytes = sizeof a,
                                 .R = q->rows.B,
                                 .offset = q->offset,
                                 .reward = price,
                                 .baseline = golden_in(r, base, q->rows.B),
                                 .gamma = causal ? 1 : 0,
                                 .lambda = 1,
                                 .advantage = weight };
    return golden_ok(r, plumb_gae(r->dev, &a));
}

static const double *sums(struct golden_run *r, const struct responses *q, struct plumb_tensor x)
{
    const struct plumb_segsum a = { .struct_bytes = sizeof a,
                                    .M = q->rows.M,
                                    .R = q->rows.B,
                                    .offset = q->offset,
                                    .x = x,
                                    .y = golden_out(r, q->rows.B) };
    golden_ok(r, plumb_segsum_fwd(r->dev, &a));
    return golden_read(r, &a.y, q->rows.B);
}

static double mean(const double *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += x[i] / (double)n;
    return sum;
}

static void metrics(struct golden_run *r, const struct responses *q)
{
    double score = 0;
    const struct plumb_tensor ratio = golden_out(r, q->rows.M);
    if (!log_ratios(r, q, 1, ratio)) return;
    const double *logp = sums(r, q, q->logp);
    for (int64_t b = 0; b < q->rows.B; b++)
        score += (q->prob[b] - 0.5) * logp[b] / (double)q->rows.B;
    golden_value(r, "metrics", "loss/kl", mean(sums(r, q, ratio), q->rows.B));
    golden_value(r, "metrics", "loss/score", score);
}

static void nash_md(struct golden_run *r, const void *causal)
{
    int64_t n;
    struct responses q = { golden_rows_of(r, "policy_per_token_logps", "completion_mask") };
    const int64_t B = q.rows.B, M = q.rows.M;
    q.offset = golden_copy(r, q.rows.offset, (size_t)(B + 1) * sizeof *q.rows.offset);
    q.logp = golden_in(r, golden_packed(r, &q.rows, "policy_per_token_logps"), M);
    q.ref_logp = golden_in(r, golden_packed(r, &q.rows, "ref_per_token_logps"), M);
    q.prob = golden_input(r, "preference_probs", &n);
    const struct plumb_tensor price = golden_out(r, M);
    const struct plumb_supervised a = { .struct_bytes = sizeof a,
                                        .loss = PLUMB_SUPERVISED_NLL,
                                        .M = M,
                                        .logp = q.logp,
                                        .weight = golden_out(r, M),
                                        .divisor = (double)B,
                                        .losses = golden_out(r, M),
                                        .dlogp = golden_out(r, M) };
    if (!log_ratios(r, &q, -golden_option(r, "beta", 0.1), price) ||
        !weigh(r, &q, causal != NULL, price, a.weight) ||
        !golden_ok(r, plumb_supervised(r->dev, &a)))
        return;
    const double *losses = sums(r, &q, a.losses);
    golden_values(r, NULL, "losses", losses, B);
    golden_value(r, NULL, "loss", mean(losses, B));
    golden_packed_values(r, &q.rows, "grads", "policy_per_token_logps",
                         golden_read(r, &a.dlogp, M));
    metrics(r, &q);
}

extern const struct golden_member golden_nash_md[];
const struct golden_member golden_nash_md[] = {
    { "pairwise/nash_md", nash_md, NULL },
    { "pairwise/nash_md_causal", nash_md, "causal" },
    { 0 },
};
