/* Adapters of the goldens on whole distributions: logits are hidden rows whose head is the unit
 * matrix. */
#include <math.h>
#include <plumb/distill.h>
#include <plumb/logprob.h>

#include "tests/golden_run.h"

static struct plumb_tensor given(struct golden_run *r, const char *name)
{
    int64_t n = 0;
    const double *values = golden_input(r, name, &n);
    return golden_in(r, values, n);
}

static struct plumb_tensor unit(struct golden_run *r, int64_t V)
{
    double *w = golden_alloc(r, (size_t)(V * V) * sizeof *w);
    for (int64_t v = 0; v < V; v++)
        w[v * V + v] = 1;
    return golden_in(r, w, V * V);
}

/* Rows with mask 1 counted; the divisor is their number, times `share` of the loss. */
static struct plumb_distill call_of(struct golden_run *r, enum plumb_divergence divergence,
                                    double share, double *counted)
{
    int64_t size = 0, n = 0;
    golden_input(r, "policy_logits", &size);
    const double *mask = golden_input(r, "mask", &n);
    *counted = 0;
    for (int64_t i = 0; i < n; i++)
        *counted += mask[i];
    struct plumb_distill a = { .struct_bytes = sizeof a,
                               .divergence = divergence,
                               .N = n,
                               .M = n,
                               .V = size / n,
                               .temperature = golden_option(r, "temperature", 1),
                               .weight = given(r, "mask"),
                               .divisor = fmax(*counted, 1) / share,
                               .beta = golden_option(r, "beta", 0),
                               .losses = golden_out(r, n),
                               .dx = golden_out(r, size) };
    a.policy = (struct plumb_distill_head){ .H = a.V,
                                            .x = given(r, "policy_logits"),
                                            .w = unit(r, a.V),
                                            .logit_scale = 1 };
    a.teacher = a.policy;
    a.teacher.x = given(r, "ref_logits");
    const size_t bytes = plumb_distill_workspace(r->dev, &a);
    a.work.data = (void *)golden_copy(r, golden_alloc(r, bytes), bytes);
    return a;
}

static double sum_of(const double *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += x[i];
    return sum;
}

/* `how` is the formula's name. */
static void divergence(struct golden_run *r, const void *how)
{
    double counted;
    const struct plumb_distill a = call_of(r, (enum plumb_divergence)plumb_distill_find(how), 1,
                                           &counted);
    if (!golden_ok(r, plumb_distill(r->dev, &a))) return;
    const double *kl = golden_read(r, &a.losses, a.M), mean = sum_of(kl, a.M) / fmax(counted, 1);
    golden_values(r, NULL, "kl", kl, a.M);
    golden_value(r, NULL, "loss", mean);
    golden_value(r, "metrics", "masked_mean", mean);
    golden_values(r, "grads", "policy_logits", golden_read(r, &a.dx, a.N * a.V), a.N * a.V);
}

/* Log-probs of the labels through the head, with their gradient. */
static struct plumb_logprob labels(struct golden_run *r, const struct plumb_distill *d)
{
    int64_t n = 0;
    const double *label = golden_input(r, "labels", &n), *mask = golden_input(r, "mask", &n);
    const size_t bytes = (size_t)n * sizeof(int32_t);
    int32_t *row = golden_alloc(r, bytes), *target = golden_alloc(r, bytes);
    double *up = golden_alloc(r, (size_t)n * sizeof *up), counted = fmax(sum_of(mask, n), 1);
    for (int32_t i = 0; i < n; i++) {
        row[i] = i, target[i] = mask[i] != 0 ? (int32_t)label[i] : -1;
        up[i] = -1 / counted;
    }
    struct plumb_logprob a = { .struct_bytes = sizeof a,
                               .N = n,
                               .H = d->V,
                               .V = d->V,
                               .M = n,
                               .x = d->policy.x,
                               .w = d->policy.w,
                               .row = golden_copy(r, row, bytes),
                               .target = golden_copy(r, target, bytes),
                               .logit_scale = 1,
                               .temperature = 1,
                               .logp = golden_out(r, n),
                               .dlogp = golden_in(r, up, n),
                               .dx = golden_out(r, n * d->V) };
    const size_t work = plumb_logprob_workspace(r->dev, &a);
    a.work.data = (void *)golden_copy(r, golden_alloc(r, work), work);
    golden_ok(r, plumb_logprob_fwd(r->dev, &a));
    golden_ok(r, plumb_logprob_bwd(r->dev, &a));
    return a;
}

/* A mean of divergences is never below 0, so that the published maximum with 0 changes nothing. */
static void nll_forward_kl(struct golden_run *r, const void *how)
{
    (void)how;
    double counted;
    const double lambda = golden_option(r, "lambda", 0);
    const struct plumb_distill a = call_of(r, PLUMB_DIVERGENCE_FORWARD_KL, lambda, &counted);
    if (!golden_ok(r, plumb_distill(r->dev, &a))) return;
    const struct plumb_logprob b = labels(r, &a);
    const double *kl = golden_read(r, &a.losses, a.M), *logp = golden_read(r, &b.logp, a.M);
    const double *d[2] = { golden_read(r, &a.dx, a.N * a.V), golden_read(r, &b.dx, a.N * a.V) };
    double *both = golden_alloc(r, (size_t)(a.N * a.V) * sizeof *both);
    for (int64_t i = 0; i < a.N * a.V; i++)
        both[i] = d[0][i] + d[1][i];
    golden_values(r, NULL, "kl", kl, a.M);
    golden_value(r, NULL, "loss",
                 (lambda * sum_of(kl, a.M) - sum_of(logp, a.M)) / fmax(counted, 1));
    golden_values(r, "grads", "policy_logits", both, a.N * a.V);
}

extern const struct golden_member golden_distill[];
const struct golden_member golden_distill[] = {
    { "kl/full_forward_kl", divergence, "forward_kl" },
    { "kl/full_reverse_kl", divergence, "reverse_kl" },
    { "kl/jsd", divergence, "jsd" },
    { "supervised/nll_forward_kl", nll_forward_kl, NULL },
    { 0 },
};
