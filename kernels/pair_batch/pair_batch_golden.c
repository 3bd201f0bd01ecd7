/* Adapters of golden/losses/pairwise for losses over a batch: an op of plumb/pair_batch.h, then the
 * pairs. */
#include <plumb/pair_batch.h>

#include "tests/golden_pairs.h"

/* The published rows are in ascending order of what is sorted first. */
static void sorted_rows(struct golden_run *r, const struct golden_pairs *p, bool unpaired)
{
    const double *logp = golden_pairs_sums(r, "policy_chosen_logps", "policy_rejected_logps");
    const double *ref = golden_pairs_sums(r, "ref_chosen_logps", "ref_rejected_logps");
    double *key = golden_alloc(r, (size_t)p->B * sizeof *key);
    double *rows = golden_alloc(r, (size_t)p->B * sizeof *rows);
    for (int64_t i = 0; i < p->B; i++)
        key[i] = logp[2 * i] - (unpaired ? ref[2 * i] : logp[2 * i + 1]);
    for (int64_t i = 0; i < p->B; i++) {
        int64_t rank = 0;
        for (int64_t j = 0; j < p->B; j++)
            rank += key[j] < key[i] || (key[j] == key[i] && j < i);
        rows[rank] = p->losses[i];
    }
    golden_values(r, NULL, "losses", rows, p->B);
}

static void aot(struct golden_run *r, const void *how)
{
    const bool unpaired = how != NULL;
    struct plumb_pairwise_term term;
    struct golden_pairs p = golden_pairs_of(r);
    struct plumb_aot a = { .struct_bytes = sizeof a, .B = p.B, .unpaired = unpaired };
    a.logps = golden_in(r, golden_pairs_sums(r, "policy_chosen_logps", "policy_rejected_logps"),
                        2 * p.B);
    a.ref_sum = golden_in(r, golden_pairs_sums(r, "ref_chosen_logps", "ref_rejected_logps"),
                          2 * p.B);
    a.gap = golden_out(r, unpaired ? 2 * p.B : p.B);
    a.work = golden_out(r, (int64_t)(plumb_aot_workspace(r->dev, &a) / sizeof(float)) + 1);
    if (!golden_ok(r, plumb_aot(r->dev, &a))) return;
    *(unpaired ? &p.a.aot_unpaired : &p.a.aot) = a.gap;
    golden_pairs_term(&term, unpaired ? how : "aot", 1);
    if (!golden_pairs_run(r, &p, &term, 1)) return;
    sorted_rows(r, &p, unpaired);
    golden_value(r, NULL, "loss", golden_mean(p.losses, p.B));
    golden_pairs_gradients(r, &p);
    golden_pairs_metrics(r, &p, false);
}

static void dr_dpo(struct golden_run *r, const void *how)
{
    struct plumb_pairwise_term term;
    struct golden_pairs p = golden_pairs_of(r);
    golden_pairs_term(&term, how, 1);
    if (!golden_pairs_run(r, &p, &term, 1)) return;
    golden_values(r, NULL, "losses", p.losses, p.B);
    const struct plumb_dr_dpo a = { .struct_bytes = sizeof a,
                                    .B = p.B,
                                    .beta_prime = golden_option(r, "beta_prime", 1),
                                    .losses = golden_in(r, p.losses, p.B),
                                    .weight = golden_out(r, p.B),
                                    .loss = golden_out(r, 1) };
    if (!golden_ok(r, plumb_dr_dpo(r->dev, &a))) return;
    golden_value(r, NULL, "loss", *golden_read(r, &a.loss, 1));
    p.a.weight = a.weight;
    if (!golden_pairs_run(r, &p, &term, 1)) return;
    golden_pairs_gradients(r, &p);
    golden_pairs_metrics(r, &p, false);
}

extern const struct golden_member golden_pair_batch[];
const struct golden_member golden_pair_batch[] = {
    { "pairwise/aot", aot, NULL },
    { "pairwise/aot_unpaired", aot, "aot_unpaired" },
    { "pairwise/dr_dpo", dr_dpo, "sigmoid" },
    { 0 },
};
