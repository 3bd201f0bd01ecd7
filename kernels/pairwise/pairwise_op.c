/* Cases of the pairwise losses: one of each formula, then mixtures and other ways to give the
 * reference. dim: B pairs, bits of the formulas' ids, longest completion, reference (0 per token,
 * 1 per sequence, 2 none), 1 = with margin, target and weight. opt: beta, label_smoothing. */
#include <plumb/pairwise.h>

#include "kernels/op.h"

static const struct plumb_case cases[] = {
#define PLUMB_FORMULA(ID, NAME, name, text) \
    { #name, { 7, INT64_C(1) << ID, 12, 0, 1 }, { 0.1, 0.1 } },
#include <plumb/pairwise.def>
#undef PLUMB_FORMULA
    { "no smoothing", { 5, 1 << PLUMB_PAIR_SIGMOID, 40 }, { 0.5 } },
    { "three terms", { 6, 7, 9 }, { 0.3, 0.2 } },
    { "reference sums", { 6, 1 << PLUMB_PAIR_SIGMOID, 20, 1 }, { 0.1 } },
    { "no reference", { 6, 1 << PLUMB_PAIR_SIGMOID, 5, 2 }, { 2 } },
    { "long sequences", { 3, 1 << PLUMB_PAIR_SIGMOID, 5000 }, { 0.02, 0.1 } },
    { "many short sequences", { 150, 15, 3, 1 }, { 0.2, 0.1 } },
    { "no pairs", { 0, 1 << PLUMB_PAIR_SIGMOID, 5 }, { 0.1 } },
    { "4k pairs of 512 tokens", { 4096, 1, 512 }, { 0.1 }, .bench = true },
};

static void setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_pairwise *a = args;
    *a = (struct plumb_pairwise){ .struct_bytes = sizeof *a,
                                  .B = c->dim[0],
                                  .beta = c->opt[0],
                                  .label_smoothing = c->opt[1],
                                  .divisor = 3.5,
                                  .discopop_tau = 0.4,
                                  .gamma = 0.3,
                                  .alpha = 0.2,
                                  .lambda = 1.5,
                                  .shift = -0.25,
                                  .chosen_tokens = 6.5 };
    struct plumb_pairwise_term *terms = plumb_case_bytes(m, 8 * sizeof *terms);
    for (int id = 0; id < 63; id++)
        if (c->dim[1] >> id & 1)
            terms[a->term_count++] = (struct plumb_pairwise_term){ (enum plumb_pairwise_loss)id,
                                                                   1 - 0.25 * (id % 3) };
    int32_t *offset = plumb_case_index(m, 2 * a->B + 1);
    for (int64_t r = 0; r < 2 * a->B; r++) /* one sequence is empty */
        offset[r + 1] = offset[r] +
                        (int32_t)(r == 3 ? 0 : 1 + plumb_case_below(m, (uint64_t)c->dim[2]));
    a->terms = terms, a->offset = offset;
    const int64_t M = offset[2 * a->B];
    plumb_case_in(m, &a->logp, &a->dlogp, PLUMB_CASE_STAT, "logp", M, -4, 0);
    if (c->dim[3] == 0) plumb_case_in(m, &a->ref_logp, NULL, PLUMB_CASE_STAT, "ref_logp", M, -4, 0);
    if (c->dim[3] == 1)
        plumb_case_in(m, &a->ref_sum, NULL, PLUMB_CASE_STAT, "ref_sum", 2 * a->B, -30, -10);
    if (c->dim[4]) {
        plumb_case_in(m, &a->margin, NULL, PLUMB_CASE_STAT, "margin", a->B, -1, 1);
        plumb_case_in(m, &a->target, NULL, PLUMB_CASE_STAT, "target", 2 * a->B, 0, 1);
        plumb_case_in(m, &a->weight, NULL, PLUMB_CASE_STAT, "weight", a->B, 0.5, 2);
    }
    plumb_case_out(m, &a->losses, NULL, PLUMB_CASE_STAT, "losses", a->B);
    plumb_case_out(m, &a->logps, NULL, PLUMB_CASE_STAT, "logps", 2 * a->B);
    plumb_case_out(m, &a->rewards, NULL, PLUMB_CASE_STAT, "rewards", 2 * a->B);
    plumb_case_objective(m, &a->losses, 1 / a->divisor);
}

/* Reads logp and ref_logp, writes dlogp; half of the longest length is the mean. */
static double bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    (void)elem;
    return backward ? 0 : 12.0 * (double)c->dim[0] * (double)(c->dim[2] + 1);
}

static int fwd(const struct plumb_device *d, const void *a) { return plumb_pairwise(d, a); }
static void fwd_ref(const void *a, enum plumb_dtype round) { plumb_pairwise_ref(a, round); }

extern const struct plumb_op plumb_op_pairwise[];
const struct plumb_op plumb_op_pairwise[] = {
    { .name = "pairwise",
      .cases = cases,
      .case_count = sizeof cases / sizeof *cases,
      .args_bytes = sizeof(struct plumb_pairwise),
      .setup = setup,
      .fwd = fwd,
      .fwd_ref = fwd_ref,
      .bytes = bytes,
      .f32_only = true },
    { 0 },
};
