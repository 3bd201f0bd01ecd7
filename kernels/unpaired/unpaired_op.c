/* Cases of the unpaired losses and of the numbers that completions are judged against. dim: B
 * sequences, id of the formula, longest completion, reference (0 per token, 1 per sequence, 2
 * none), 1 = with kl, shift, value and weight. opt: beta, desirable_weight, undesirable_weight,
 * clip, clamp_negative, normalize. */
#include <plumb/unpaired.h>

#include "kernels/op.h"

static const struct plumb_case cases[] = {
#define PLUMB_FORMULA(ID, NAME, name, text)                                                        \
    { #name, { 9, ID, 12, 0, 1 }, { 0.1, 1.5, 0.75, 0.9, 0.3, 1 } },
#include <plumb/unpaired.def>
#undef PLUMB_FORMULA
    { "reference sums", { 6, PLUMB_UNPAIRED_KTO, 20, 1, 1 }, { 0.5, 1, 1 } },
    { "no reference, no kl", { 6, PLUMB_UNPAIRED_KTO, 5, 2 }, { 0.3, 1, 1 } },
    { "ratios as they are", { 8, PLUMB_UNPAIRED_A_LOL, 4 }, { 0.1 } },
    { "root of the odds", { 20, PLUMB_UNPAIRED_NFT, 2 }, { 0.1, 1, 0.5, 0, 1, 2 } },
    { "nothing normalised", { 20, PLUMB_UNPAIRED_NFT, 1 }, { 0.1, 1, 1, 0, 1, 0 } },
    { "long sequences", { 5, PLUMB_UNPAIRED_KTO, 4000, 0, 1 }, { 0.02, 1, 0.5 } },
    { "many short sequences", { 203, PLUMB_UNPAIRED_BCO, 3, 1, 1 }, { 0.2, 1.25, 1 } },
    { "no sequences", { 0, PLUMB_UNPAIRED_KTO, 5, 0, 1 }, { 0.1, 1, 1 } },
    { "4k completions of 512 tokens", { 4096, 0, 512, 0, 1 }, { 0.1, 1, 1 }, .bench = true },
};

/* Losses whose gradient is not the derivative of their value: finite differences do not apply. */
static bool stops_gradient(enum plumb_unpaired_loss loss)
{
    return loss == PLUMB_UNPAIRED_A_LOL || loss == PLUMB_UNPAIRED_NFT;
}

static const struct plumb_case kl_cases[] = {
    { "per token", { 9, 0, 12, 0 } },
    { "reference sums", { 5, 0, 15, 1 } },
    { "no reference: below zero", { 3, 0, 4, 2 } },
    { "long sequences", { 4, 0, 4000, 0 } },
    { "many rows of one token", { 77, 0, 1, 1 } },
    { "no sequences", { 0, 0, 4, 0 } },
    { "4k completions of 512 tokens", { 4096, 0, 512, 0 }, .bench = true },
};

static int32_t *lengths(const struct plumb_case *c, struct plumb_case_mem *m)
{
    int32_t *offset = plumb_case_index(m, c->dim[0] + 1);
    for (int64_t r = 0; r < c->dim[0]; r++) /* one sequence is empty */
        offset[r + 1] = offset[r] +
                        (int32_t)(r == 2 ? 0 : 1 + plumb_case_below(m, (uint64_t)c->dim[2]));
    return offset;
}

static void references(const struct plumb_case *c, struct plumb_case_mem *m, int64_t tokens,
                       struct plumb_tensor *ref_logp, struct plumb_tensor *ref_sum)
{
    if (c->dim[3] == 0)
        plumb_case_in(m, ref_logp, NULL, PLUMB_CASE_STAT, "ref_logp", tokens, -5, 0);
    if (c->dim[3] == 1)
        plumb_case_in(m, ref_sum, NULL, PLUMB_CASE_STAT, "ref_sum", c->dim[0], -40, -10);
}

static void setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_unpaired *a = args;
    *a = (struct plumb_unpaired){ .struct_bytes = sizeof *a,
                                  .loss = (enum plumb_unpaired_loss)c->dim[1],
                                  .B = c->dim[0],
                                  .beta = c->opt[0],
                                  .desirable_weight = c->opt[1],
                                  .undesirable_weight = c->opt[2],
                                  .clip = c->opt[3],
                                  .clamp_negative = c->opt[4],
                                  .normalize = c->opt[5],
                                  .lambda = 0.4,
                                  .divisor = 3.5 };
    a->offset = lengths(c, m);
    const int64_t M = a->offset[a->B];
    int32_t *label = plumb_case_index(m, a->B);
    for (int64_t r = 0; r < a->B; r++)
        label[r] = (int32_t)plumb_case_below(m, 2);
    a->label = label;
    const bool differs = !stops_gradient(a->loss);
    plumb_case_in(m, &a->logp, differs ? &a->dlogp : NULL, PLUMB_CASE_STAT, "logp", M, -4, 0);
    if (!differs) plumb_case_out(m, &a->dlogp, NULL, PLUMB_CASE_STAT, "dlogp", M);
    references(c, m, M, &a->ref_logp, &a->ref_sum);
    if (!c->bench) plumb_case_in(m, &a->target, NULL, PLUMB_CASE_STAT, "target", a->B, 0.1, 1);
    if (c->dim[4]) {
        plumb_case_in(m, &a->kl, NULL, PLUMB_CASE_STAT, "kl", 1, 0.5, 2);
        plumb_case_in(m, &a->shift, NULL, PLUMB_CASE_STAT, "shift", 1, -1, 1);
        plumb_case_in(m, &a->weight, NULL, PLUMB_CASE_STAT, "weight", a->B, 0.5, 2);
        plumb_case_in(m, &a->value, &a->dvalue, PLUMB_CASE_STAT, "value", a->B, -1, 1);
    }
    plumb_case_out(m, &a->losses, NULL, PLUMB_CASE_STAT, "losses", a->B);
    plumb_case_out(m, &a->logps, NULL, PLUMB_CASE_STAT, "logps", a->B);
    plumb_case_out(m, &a->rewards, NULL, PLUMB_CASE_STAT, "rewards", a->B);
    plumb_case_objective(m, &a->losses, 1 / a->divisor);
}

static void kl_setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_kto_kl *a = args;
    *a = (struct plumb_kto_kl){ .struct_bytes = sizeof *a, .B = c->dim[0] };
    a->offset = lengths(c, m);
    plumb_case_in(m, &a->logp, NULL, PLUMB_CASE_STAT, "logp", a->offset[a->B], -4, 0);
    references(c, m, a->offset[a->B], &a->ref_logp, &a->ref_sum);
    plumb_case_out(m, &a->kl, NULL, PLUMB_CASE_STAT, "kl", 1);
}

static void delta_setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_bco_delta *a = args;
    *a = (struct plumb_bco_delta){ .struct_bytes = sizeof *a, .B = c->dim[0], .beta = 0.3 };
    a->offset = lengths(c, m);
    plumb_case_in(m, &a->logp, NULL, PLUMB_CASE_STAT, "logp", a->offset[a->B], -4, 0);
    references(c, m, a->offset[a->B], &a->ref_logp, &a->ref_sum);
    double *before = plumb_case_device_bytes(m, 3 * sizeof *before);
    before[0] = (double)plumb_case_below(m, 3) * 50; /* the first batch has seen nothing */
    before[1] = before[0] > 0 ? -0.7 : 0, before[2] = before[0] * 1.5;
    a->before = before, a->after = plumb_case_f64_out(m, "after", 3);
    plumb_case_out(m, &a->delta, NULL, PLUMB_CASE_STAT, "delta", 1);
    plumb_case_out(m, &a->variance, NULL, PLUMB_CASE_STAT, "variance", 1);
}

/* Reads logp and ref_logp, writes dlogp; half of the longest length is the mean. */
static double bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    (void)elem;
    return backward ? 0 : 6.0 * (double)c->dim[0] * (double)(c->dim[2] + 1);
}

static double read_bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    return bytes(c, elem, backward) * 2 / 3;
}

static int fwd(const struct plumb_device *d, const void *a) { return plumb_unpaired(d, a); }
static void fwd_ref(const void *a, enum plumb_dtype round) { plumb_unpaired_ref(a, round); }
static int kl_fwd(const struct plumb_device *d, const void *a) { return plumb_kto_kl(d, a); }
static void kl_fwd_ref(const void *a, enum plumb_dtype round) { plumb_kto_kl_ref(a, round); }
static int delta_fwd(const struct plumb_device *d, const void *a) { return plumb_bco_delta(d, a); }
static void delta_fwd_ref(const void *a, enum plumb_dtype round) { plumb_bco_delta_ref(a, round); }

extern const struct plumb_op plumb_op_unpaired[];
const struct plumb_op plumb_op_unpaired[] = {
    { .name = "unpaired",
      .cases = cases,
      .case_count = sizeof cases / sizeof *cases,
      .args_bytes = sizeof(struct plumb_unpaired),
      .setup = setup,
      .fwd = fwd,
      .fwd_ref = fwd_ref,
      .bytes = bytes,
      .f32_only = true },
    { .name = "kto_kl",
      .cases = kl_cases,
      .case_count = sizeof kl_cases / sizeof *kl_cases,
      .args_bytes = sizeof(struct plumb_kto_kl),
      .setup = kl_setup,
      .fwd = kl_fwd,
      .fwd_ref = kl_fwd_ref,
      .bytes = read_bytes,
      .f32_only = true },
    { .name = "bco_delta",
      .cases = kl_cases,
      .case_count = sizeof kl_cases / sizeof *kl_cases,
      .args_bytes = sizeof(struct plumb_bco_delta),
      .setup = delta_setup,
      .fwd = delta_fwd,
      .fwd_ref = delta_fwd_ref,
      .bytes = read_bytes,
      .f32_only = true },
    { 0 },
};
