/* Adapters of golden/losses/pairwise for losses with further responses: those are terms on tokens,
 * from the families of likelihoods and of KL estimates, with a weight. */
#include <plumb/kl.h>
#include <plumb/pair_batch.h>
#include <plumb/reduce.h>
#include <plumb/supervised.h>
#include <string.h>

#include "tests/golden_pairs.h"

/* A term on `count` further responses of which one token carries the sum. */
struct third {
    int64_t count;
    const char *name;                   /* of the responses' log-probs */
    const double *logps, *ref;          /* host; ref or NULL */
    struct plumb_tensor logp, ref_logp; /* on the device */
    const double *losses, *dlogp;       /* host: a response's share of the loss, its gradient */
};

static struct third third_of(struct golden_run *r, const char *name, const char *ref)
{
    struct third t = { .name = name };
    int64_t n;
    t.logps = golden_input(r, name, &t.count);
    t.ref = ref ? golden_input(r, ref, &n) : NULL;
    t.logp = golden_in(r, t.logps, t.count);
    t.ref_logp = golden_in(r, t.ref, t.count);
    return t;
}

static struct plumb_tensor constant(struct golden_run *r, double x, int64_t count)
{
    double *v = golden_alloc(r, (size_t)count * sizeof *v);
    for (int64_t i = 0; i < count; i++)
        v[i] = x;
    return golden_in(r, v, count);
}

/* -weight logp, its gradient divided. */
static bool likelihood(struct golden_run *r, struct third *t, struct plumb_tensor weight,
                       double divisor)
{
    const struct plumb_supervised a = { .struct_bytes = sizeof a,
                                        .loss = PLUMB_SUPERVISED_NLL,
                                        .M = t->count,
                                        .logp = t->logp,
                                        .weight = weight,
                                        .divisor = divisor,
                                        .losses = golden_out(r, t->count),
                                        .dlogp = golden_out(r, t->count) };
    if (!golden_ok(r, plumb_supervised(r->dev, &a))) return false;
    t->losses = golden_read(r, &a.losses, t->count);
    t->dlogp = golden_read(r, &a.dlogp, t->count);
    return true;
}

/* weight (logp - ref_logp), its gradient divided. */
static bool log_ratio(struct golden_run *r, struct third *t, double weight, double divisor)
{
    const struct plumb_kl a = { .struct_bytes = sizeof a,
                                .estimator = PLUMB_KL_K1,
                                .M = t->count,
                                .logp = t->logp,
                                .ref_logp = t->ref_logp,
                                .weight = constant(r, weight, t->count),
                                .divisor = divisor,
                                .kl = golden_out(r, t->count),
                                .dlogp = golden_out(r, t->count) };
    if (!golden_ok(r, plumb_kl(r->dev, &a))) return false;
    t->losses = golden_read(r, &a.kl, t->count);
    t->dlogp = golden_read(r, &a.dlogp, t->count);
    return true;
}

/* Each pair's loss and those of its responses, mean over pairs. */
static void report_sum(struct golden_run *r, const struct golden_pairs *p, const struct third *t)
{
    double *rows = golden_alloc(r, (size_t)p->B * sizeof *rows);
    for (int64_t i = 0; i < p->B; i++)
        rows[i] = p->losses[i];
    for (int64_t j = 0; j < t->count; j++)
        rows[j / (t->count / p->B)] += t->losses[j];
    golden_values(r, NULL, "losses", rows, p->B);
    golden_value(r, NULL, "loss", golden_mean(rows, p->B));
}

static bool run_pairs(struct golden_run *r, struct golden_pairs *p, const char *name,
                      bool by_length)
{
    struct plumb_pairwise_term term;
    golden_pairs_term(&term, name, 1);
    if (!golden_pairs_run(r, p, &term, 1)) return false;
    golden_pairs_gradients(r, p);
    golden_pairs_metrics(r, p, by_length);
    return true;
}

static void selm(struct golden_run *r, const void *how)
{
    struct golden_pairs p = golden_pairs_of(r);
    struct third t = third_of(r, "policy_response_logps", "ref_response_logps");
    if (!log_ratio(r, &t, p.a.alpha * p.a.beta, (double)p.B) || !run_pairs(r, &p, how, false))
        return;
    report_sum(r, &p, &t);
    golden_values(r, "grads", t.name, t.dlogp, t.count);
}

static void vpo(struct golden_run *r, const void *how)
{
    struct golden_pairs p = golden_pairs_of(r);
    struct third t = third_of(r, "policy_cal_logps", NULL);
    const double weight = -golden_option(r, "sign", 1) * p.a.alpha;
    if (!likelihood(r, &t, constant(r, weight, t.count), (double)p.B) ||
        !run_pairs(r, &p, how, false))
        return;
    report_sum(r, &p, &t);
    golden_values(r, "grads", t.name, t.dlogp, t.count);
}

/* tpo-l is SimPO's form, with a margin of its own name. */
static void tpo(struct golden_run *r, const void *how)
{
    (void)how;
    int64_t n;
    struct golden_pairs p = golden_pairs_of(r);
    struct third t = third_of(r, "policy_reference_logps", NULL);
    const char *given = golden_option_text(r, "loss_type"), *type = given ? given : "sigmoid";
    const bool long_form = !strcmp(type, "tpo-l"), means = long_form || !strcmp(type, "ipo");
    const double *lengths = golden_input(r, "reference_lengths", &n);
    const double alpha = golden_option(r, "tpo_alpha", 1);
    const double tokens = golden_mean(lengths, n) * (double)n;
    p.a.gamma = golden_option(r, "tpo_l_gamma", 0);
    if (!likelihood(r, &t, constant(r, alpha, t.count), tokens) ||
        !run_pairs(r, &p, long_form ? "simpo" : type, means))
        return;
    golden_values(r, NULL, "losses", p.losses, p.B);
    golden_value(r, NULL, "loss",
                 golden_mean(p.losses, p.B) + golden_mean(t.losses, n) * (double)n / tokens);
    golden_values(r, "grads", t.name, t.dlogp, t.count);
}

/* Weights of the samples: `factor` times what each log-ratio is beside those of its siblings, with
 * the sign that a negative log-likelihood wants. */
static bool credit(struct golden_run *r, const struct third *t, int64_t k, double factor,
                   struct plumb_tensor *weight)
{
    const struct plumb_kl d = { .struct_bytes = sizeof d,
                                .estimator = PLUMB_KL_K1,
                                .M = t->count,
                                .logp = t->logp,
                                .ref_logp = t->ref_logp,
                                .weight = constant(r, -factor, t->count),
                                .divisor = 1,
                                .kl = golden_out(r, t->count) };
    const struct plumb_leave_one_out a = { .struct_bytes = sizeof a,
                                           .B = t->count / k,
                                           .k = k,
                                           .x = d.kl,
                                           .y = golden_out(r, t->count) };
    *weight = a.y;
    return golden_ok(r, plumb_kl(r->dev, &d)) && golden_ok(r, plumb_leave_one_out(r->dev, &a));
}

static void hypo(struct golden_run *r, const void *how)
{
    struct plumb_tensor weight;
    struct golden_pairs p = golden_pairs_of(r);
    struct third t = third_of(r, "policy_sample_logps", "ref_sample_logps");
    const int64_t k = t.count / p.B;
    if (!credit(r, &t, k, p.a.lambda / (double)k, &weight) ||
        !likelihood(r, &t, weight, (double)p.B) || !run_pairs(r, &p, how, false))
        return;
    report_sum(r, &p, &t);
    golden_values(r, "grads", t.name, t.dlogp, t.count);
}

extern const struct golden_member golden_pairwise_third[];
const struct golden_member golden_pairwise_third[] = {
    { "pairwise/selm", selm, "sigmoid" },
    { "pairwise/vpo", vpo, "sigmoid" },
    { "pairwise/tpo", tpo, NULL },
    { "pairwise/hypo", hypo, "sigmoid" },
    { 0 },
};
