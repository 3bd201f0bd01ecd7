/* Adapters of golden/losses/pairwise for losses that read a further tensor: margins from scores and
 * rewards, KLs, a second anchor. */
#include <math.h>
#include <string.h>

#include "tests/golden_pairs.h"

static bool run_one(struct golden_run *r, struct golden_pairs *p, const char *name)
{
    struct plumb_pairwise_term term;
    golden_pairs_term(&term, name, 1);
    if (!golden_pairs_run(r, p, &term, 1)) return false;
    golden_values(r, NULL, "losses", p->losses, p->B);
    golden_value(r, NULL, "loss", golden_mean(p->losses, p->B));
    golden_pairs_gradients(r, p);
    return true;
}

/* What the published trainers call rewards: those of the policy and a part by sequence. */
static void rewards_with(struct golden_run *r, const struct golden_pairs *p, const double *part,
                         double scale)
{
    double sum[2] = { 0 };
    for (int64_t s = 0; s < 2 * p->B; s++)
        sum[s % 2] += p->rewards[s] + scale * part[s];
    golden_value(r, "metrics", "rewards/chosen", sum[0] / (double)p->B);
    golden_value(r, "metrics", "rewards/rejected", sum[1] / (double)p->B);
}

static void odpo(struct golden_run *r, const void *how)
{
    int64_t n;
    struct golden_pairs p = golden_pairs_of(r);
    const double *w = golden_input(r, "chosen_scores", &n),
                 *l = golden_input(r, "rejected_scores", &n);
    double *margin = golden_alloc(r, (size_t)p.B * sizeof *margin);
    for (int64_t i = 0; i < p.B; i++)
        margin[i] = p.a.alpha * log(w[i] - l[i]);
    p.a.margin = golden_in(r, margin, p.B);
    if (run_one(r, &p, how)) golden_pairs_metrics(r, &p, false);
}

/* beta and the margin are divided by the first weight; the others weigh the other objectives. */
static void modpo(struct golden_run *r, const void *how)
{
    int64_t n;
    struct golden_pairs p = golden_pairs_of(r);
    const cJSON *w = cJSON_GetObjectItem(cJSON_GetObjectItem(r->at, "options"), "w");
    const int others = cJSON_GetArraySize(w) - 1;
    const double first = cJSON_GetArrayItem(w, 0)->valuedouble;
    const double *given[2] = { golden_input(r, "chosen_margin_rewards", &n),
                               golden_input(r, "rejected_margin_rewards", &n) };
    double *part = golden_alloc(r, (size_t)(2 * p.B) * sizeof *part);
    double *margin = golden_alloc(r, (size_t)p.B * sizeof *margin);
    for (int64_t s = 0; s < 2 * p.B; s++)
        for (int k = 0; k < others; k++)
            part[s] += cJSON_GetArrayItem(w, k + 1)->valuedouble / first *
                       given[s % 2][s / 2 * others + k];
    for (int64_t i = 0; i < p.B; i++)
        margin[i] = part[2 * i] - part[2 * i + 1];
    p.a.beta /= first;
    p.a.margin = golden_in(r, margin, p.B);
    const char *type = golden_option_text(r, "loss_type");
    const bool hinge = type && !strcmp(type, "hinge");
    if (run_one(r, &p, hinge ? "hinge_margin" : how)) rewards_with(r, &p, part, -1);
}

static void tdpo(struct golden_run *r, const void *how)
{
    static const char *const names[2] = { "chosen_seq_kl", "rejected_seq_kl" };
    (void)how;
    struct golden_pairs p = golden_pairs_of(r);
    const double *kl = golden_pairs_sums(r, names[0], names[1]);
    p.a.kl = golden_in(r, kl, 2 * p.B);
    p.a.dkl = golden_out(r, 2 * p.B);
    if (!run_one(r, &p, golden_option_text(r, "variant"))) return;
    const double *dkl = golden_read(r, &p.a.dkl, 2 * p.B);
    double *d = golden_alloc(r, (size_t)p.B * sizeof *d);
    for (int side = 0; side < 2; side++) {
        for (int64_t i = 0; i < p.B; i++)
            d[i] = dkl[2 * i + side];
        golden_values(r, "grads", names[side], d, p.B);
    }
    rewards_with(r, &p, kl, p.a.beta);
}

static void inpo(struct golden_run *r, const void *how)
{
    struct golden_pairs p = golden_pairs_of(r);
    p.a.beta = golden_option(r, "eta", 1);
    p.a.lambda = golden_option(r, "tau", 0) / p.a.beta;
    p.a.anchor_sum = golden_in(r, golden_pairs_sums(r, "prev_chosen_logps", "prev_rejected_logps"),
                               2 * p.B);
    run_one(r, &p, how);
}

extern const struct golden_member golden_pairwise_inputs[];
const struct golden_member golden_pairwise_inputs[] = {
    { "pairwise/odpo", odpo, "sigmoid_margin" },
    { "pairwise/modpo", modpo, "sigmoid_margin" },
    { "pairwise/tdpo", tdpo, NULL },
    { "pairwise/inpo", inpo, "inpo" },
    { 0 },
};
