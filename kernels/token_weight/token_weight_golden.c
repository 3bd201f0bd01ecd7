/* Adapters of golden/losses/pairwise whose tokens or pairs have weights. */
#include <plumb/token_weight.h>
#include <string.h>

#include "tests/golden_pairs.h"

/* ---- LD-DPO: per-token log-probs in padded rows, chosen and rejected apart ---- */

struct sides {
    struct golden_rows rows[2]; /* chosen, rejected */
    int32_t *offset;            /* of the pairs' sequences */
};

static double *interleave(struct golden_run *r, const struct sides *s, const char *chosen,
                          const char *rejected)
{
    const int64_t B = s->rows[0].B;
    double *x = golden_alloc(r, (size_t)s->offset[2 * B] * sizeof *x);
    const double *from[2] = { golden_packed(r, &s->rows[0], chosen),
                              golden_packed(r, &s->rows[1], rejected) };
    if (!from[0] || !from[1]) return NULL;
    for (int64_t q = 0; q < 2 * B; q++)
        memcpy(x + s->offset[q], from[q % 2] + s->rows[q % 2].offset[q / 2],
               (size_t)(s->offset[q + 1] - s->offset[q]) * sizeof *x);
    return x;
}

static struct sides sides_of(struct golden_run *r)
{
    struct sides s = { .rows = { golden_rows_of(r, "policy_chosen_per_token_logps", "chosen_mask"),
                                 golden_rows_of(r, "policy_rejected_per_token_logps",
                                                "rejected_mask") } };
    const int64_t B = s.rows[0].B;
    s.offset = golden_alloc(r, (size_t)(2 * B + 1) * sizeof *s.offset);
    for (int64_t q = 0; q < 2 * B; q++) {
        const int32_t *o = s.rows[q % 2].offset + q / 2;
        s.offset[q + 1] = s.offset[q] + o[1] - o[0];
    }
    return s;
}

static void report_tokens(struct golden_run *r, const struct golden_pairs *p, const struct sides *s)
{
    static const char *const names[2] = { "policy_chosen_per_token_logps",
                                          "policy_rejected_per_token_logps" };
    for (int side = 0; side < 2; side++) {
        double *d = golden_alloc(r, (size_t)s->rows[side].M * sizeof *d);
        for (int64_t i = 0; i < p->B; i++)
            memcpy(d + s->rows[side].offset[i], p->dlogp + s->offset[2 * i + side],
                   (size_t)(s->offset[2 * i + side + 1] - s->offset[2 * i + side]) * sizeof *d);
        golden_packed_values(r, &s->rows[side], "grads", names[side], d);
    }
}

static bool weigh_tail(struct golden_run *r, struct golden_pairs *p)
{
    const struct plumb_token_weight a = { .struct_bytes = sizeof a,
                                          .kind = PLUMB_WEIGHT_TAIL,
                                          .B = p->B,
                                          .offset = p->a.offset,
                                          .ld_alpha = golden_option(r, "ld_alpha", 1),
                                          .weight = golden_out(r, p->M) };
    p->a.token_weight = a.weight;
    return golden_ok(r, plumb_token_weight(r->dev, &a));
}

static void ld_dpo(struct golden_run *r, const void *how)
{
    const struct sides s = sides_of(r);
    const char *type = golden_option_text(r, "loss_type");
    struct plumb_pairwise_term term;
    struct golden_pairs p = golden_pairs_of(r);
    struct plumb_pairwise *a = &p.a;
    p.B = a->B = s.rows[0].B, p.M = s.offset[2 * p.B], p.offset = s.offset;
    a->divisor = (double)p.B;
    a->offset = golden_copy(r, s.offset, (size_t)(2 * p.B + 1) * sizeof *s.offset);
    a->logp = golden_in(
        r, interleave(r, &s, "policy_chosen_per_token_logps", "policy_rejected_per_token_logps"),
        p.M);
    a->ref_logp = golden_in(
        r, interleave(r, &s, "ref_chosen_per_token_logps", "ref_rejected_per_token_logps"), p.M);
    a->losses = golden_out(r, p.B);
    a->logps = golden_out(r, 2 * p.B);
    a->rewards = golden_out(r, 2 * p.B);
    a->dlogp = golden_out(r, p.M);
    golden_pairs_term(&term, type ? type : how, 1);
    if (!weigh_tail(r, &p) || !golden_pairs_run(r, &p, &term, 1)) return;
    golden_values(r, NULL, "losses", p.losses, p.B);
    golden_value(r, NULL, "loss", golden_mean(p.losses, p.B));
    report_tokens(r, &p, &s);
    golden_pairs_metrics(r, &p, false);
}

/* ---- WPO ---- */

/* A row of tokens whose first of each sequence carries the sum. */
static struct plumb_tensor spread(struct golden_run *r, const struct golden_pairs *p,
                                  const double *sums)
{
    double *x = golden_alloc(r, (size_t)p->M * sizeof *x);
    for (int64_t s = 0; s < 2 * p->B; s++)
        x[p->offset[s]] = sums[s];
    return golden_in(r, x, p->M);
}

static void wpo(struct golden_run *r, const void *how)
{
    struct plumb_pairwise_term term;
    struct golden_pairs p = golden_pairs_of(r);
    const char *type = golden_option_text(r, "loss_type");
    const double *sq = golden_pairs_sums(r, "policy_chosen_log_sum_sq_probs",
                                         "policy_rejected_log_sum_sq_probs");
    const struct plumb_wpo a = { .struct_bytes = sizeof a,
                                 .B = p.B,
                                 .offset = p.a.offset,
                                 .logp = p.a.logp,
                                 .log_sum_sq = spread(r, &p, sq),
                                 .weight = golden_out(r, p.B) };
    p.a.weight = a.weight;
    golden_pairs_term(&term, type ? type : how, 1);
    if (!golden_ok(r, plumb_wpo(r->dev, &a)) || !golden_pairs_run(r, &p, &term, 1)) return;
    golden_values(r, NULL, "losses", p.losses, p.B);
    golden_value(r, NULL, "loss", golden_mean(p.losses, p.B));
    golden_pairs_gradients(r, &p);
    golden_pairs_metrics(r, &p, false);
}

extern const struct golden_member golden_token_weight[];
const struct golden_member golden_token_weight[] = {
    { "pairwise/ld_dpo", ld_dpo, "sigmoid" },
    { "pairwise/wpo", wpo, "sigmoid" },
    { 0 },
};
