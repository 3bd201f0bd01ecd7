/* Cases of the pairwise losses: one of each formula, then mixtures and other ways to give the
 * reference. dim: B pairs, bits of the formulas' ids, longest completion, reference (0 per token,
 * 1 per sequence, 2 none), 1 = with all inputs by pair, f-divergence, 1 = with token weights.
 * opt: beta, label_smoothing. */
#include <plumb/pairwise.h>

#include "kernels/op.h"

/* What takes a divergence. */
#define LINKED                                                                                     \
    ((INT64_C(1) << PLUMB_PAIR_SIGMOID) | (1 << PLUMB_PAIR_HINGE) | (1 << PLUMB_PAIR_IPO) |        \
     (1 << PLUMB_PAIR_ROBUST) | (1 << PLUMB_PAIR_EXO_PAIR) | (1 << PLUMB_PAIR_SIGMOID_NORM) |      \
     (INT64_C(1) << PLUMB_PAIR_SIGMOID_CLIPPED) | (1 << PLUMB_PAIR_SQUARE))

static const struct plumb_case cases[] = {
#define PLUMB_FORMULA(ID, NAME, name, text)                                                        \
    { #name, { 7, INT64_C(1) << ID, 12, 0, 1 }, { 0.1, 0.1 } },
#include <plumb/pairwise.def>
#undef PLUMB_FORMULA
    { "no smoothing", { 5, 1 << PLUMB_PAIR_SIGMOID, 40 }, { 0.5 } },
    { "three terms", { 6, 7, 9 }, { 0.3, 0.2 } },
    { "reference sums", { 6, 1 << PLUMB_PAIR_SIGMOID, 20, 1 }, { 0.1 } },
    { "no reference", { 6, 1 << PLUMB_PAIR_SIGMOID, 5, 2 }, { 2 } },
    { "long sequences", { 3, 1 << PLUMB_PAIR_SIGMOID, 5000 }, { 0.02, 0.1 } },
    { "many short sequences", { 150, 15, 3, 1 }, { 0.2, 0.1 } },
    { "forward KL", { 7, LINKED, 3, 0, 1, PLUMB_F_FORWARD_KL }, { 0.4, 0.2 } },
    { "Jensen-Shannon", { 7, LINKED, 6, 0, 1, PLUMB_F_JS }, { 0.4, 0.2 } },
    { "alpha divergence", { 7, LINKED, 6, 1, 1, PLUMB_F_ALPHA }, { 0.4, 0.2 } },
    { "exponential and linear", { 7, LINKED, 3, 0, 0, PLUMB_F_EXP_LINEAR }, { 0.4, 0.2 } },
    { "token weights", { 9, 1 << PLUMB_PAIR_IPO, 300, 0, 1, 0, 1 }, { 0.3 } },
    { "token weights, sums", { 40, 1 << PLUMB_PAIR_SIGMOID, 7, 1, 0, 0, 1 }, { 0.3 } },
    { "no pairs", { 0, 1 << PLUMB_PAIR_SIGMOID, 5 }, { 0.1 } },
    { "4k pairs of 512 tokens", { 4096, 1, 512 }, { 0.1 }, .bench = true },
    { "4k pairs of weighted tokens", { 4096, 1, 512, 0, 0, 0, 1 }, { 0.1 }, .bench = true },
    { "4k pairs under a divergence", { 4096, 1, 512, 0, 0, PLUMB_F_JS }, { 0.1 }, .bench = true },
};

/* Losses whose gradient is not that of their value alone: the other half of it is in the sort, or
 * ratios are held constant. */
static bool partial(int64_t bits)
{
    return bits >> PLUMB_PAIR_AOT & 1 || bits >> PLUMB_PAIR_AOT_UNPAIRED & 1 ||
           bits >> PLUMB_PAIR_P3O & 7;
}

static void pair_inputs(const struct plumb_case *c, struct plumb_case_mem *m,
                        struct plumb_pairwise *a)
{
    const bool stopped = c->dim[1] >> PLUMB_PAIR_TDPO2 & 1;
    plumb_case_in(m, &a->margin, NULL, PLUMB_CASE_STAT, "margin", a->B, -1, 1);
    plumb_case_in(m, &a->target, NULL, PLUMB_CASE_STAT, "target", 2 * a->B, 0, 1);
    plumb_case_in(m, &a->weight, NULL, PLUMB_CASE_STAT, "weight", a->B, 0.5, 2);
    plumb_case_in(m, &a->anchor_sum, NULL, PLUMB_CASE_STAT, "anchor_sum", 2 * a->B, -30, -10);
    plumb_case_in(m, &a->aot, NULL, PLUMB_CASE_STAT, "aot", a->B, -9, 9);
    plumb_case_in(m, &a->aot_unpaired, NULL, PLUMB_CASE_STAT, "aot_unpaired", 2 * a->B, -9, 9);
    plumb_case_in(m, &a->kl, stopped ? NULL : &a->dkl, PLUMB_CASE_STAT, "kl", 2 * a->B, 0, 4);
    if (stopped) plumb_case_out(m, &a->dkl, NULL, PLUMB_CASE_STAT, "dkl", 2 * a->B);
}

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
                                  .chosen_tokens = 6.5,
                                  .f_divergence = (enum plumb_f_divergence)c->dim[5],
                                  .f_alpha_divergence_coef = 0.6 };
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
    const bool whole = !partial(c->dim[1]);
    plumb_case_in(m, &a->logp, whole ? &a->dlogp : NULL, PLUMB_CASE_STAT, "logp", M, -4, 0);
    if (!whole) plumb_case_out(m, &a->dlogp, NULL, PLUMB_CASE_STAT, "dlogp", M);
    if (c->dim[3] == 0) plumb_case_in(m, &a->ref_logp, NULL, PLUMB_CASE_STAT, "ref_logp", M, -4, 0);
    if (c->dim[3] == 1)
        plumb_case_in(m, &a->ref_sum, NULL, PLUMB_CASE_STAT, "ref_sum", 2 * a->B, -30, -10);
    if (c->dim[4]) pair_inputs(c, m, a);
    if (c->dim[6])
        plumb_case_in(m, &a->token_weight, NULL, PLUMB_CASE_STAT, "token_weight", M, 0, 1.5);
    plumb_case_out(m, &a->losses, NULL, PLUMB_CASE_STAT, "losses", a->B);
    plumb_case_out(m, &a->logps, NULL, PLUMB_CASE_STAT, "logps", 2 * a->B);
    plumb_case_out(m, &a->rewards, NULL, PLUMB_CASE_STAT, "rewards", 2 * a->B);
    plumb_case_objective(m, &a->losses, 1 / a->divisor);
}

/* Reads logp, ref_logp and weights, writes dlogp; half of the longest length is the mean. */
static double bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    (void)elem;
    const double weights = c->dim[6] ? 4 : 0;
    return backward ? 0 : (12 + weights) * (double)c->dim[0] * (double)(c->dim[2] + 1);
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
