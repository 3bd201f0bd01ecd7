/* Cases of the losses by token. dim: B completions, id of the formula, longest completion, 1 = with
 * another policy, 1 = with weights. opt: undesirable_weight, clip, clamp_negative, normalize. */
#include <plumb/tokenwise.h>

#include "kernels/op.h"

static const struct plumb_case cases[] = {
#define PLUMB_FORMULA(ID, NAME, name, text) { #name, { 9, ID, 12, 1, 1 }, { 0.75, 0.9, 0.3, 1 } },
#include <plumb/tokenwise.def>
#undef PLUMB_FORMULA
    { "no other policy", { 6, PLUMB_TOKENWISE_A_LOL_SEQ, 5 }, { 0, 0.5 } },
    { "ratios as they are", { 6, PLUMB_TOKENWISE_A_LOL_SEQ, 30, 1 } },
    { "root of the odds", { 20, PLUMB_TOKENWISE_NFT_TOKEN, 5, 1 }, { 0.5, 0, 1, 2 } },
    { "long completions", { 5, PLUMB_TOKENWISE_UNLIKELIHOOD, 4000 }, { 0.1 } },
    { "many short completions", { 203, PLUMB_TOKENWISE_NFT_TOKEN, 3, 1, 1 }, { 1, 0, 0.5, 0 } },
    { "no completions", { 0, PLUMB_TOKENWISE_UNLIKELIHOOD, 5 }, { 1 } },
    { "4k completions of 512 tokens",
      { 4096, PLUMB_TOKENWISE_NFT_TOKEN, 512, 1 },
      { 1, 0, 1, 1 },
      .bench = true },
};

/* Losses whose gradient is not the derivative of their value: finite differences do not apply. */
static bool stops_gradient(enum plumb_tokenwise_loss loss)
{
    return loss == PLUMB_TOKENWISE_A_LOL_SEQ || loss == PLUMB_TOKENWISE_NFT_TOKEN;
}

static void setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_tokenwise *a = args;
    *a = (struct plumb_tokenwise){ .struct_bytes = sizeof *a,
                                   .loss = (enum plumb_tokenwise_loss)c->dim[1],
                                   .B = c->dim[0],
                                   .undesirable_weight = c->opt[0],
                                   .clip = c->opt[1],
                                   .clamp_negative = c->opt[2],
                                   .normalize = c->opt[3],
                                   .divisor = 3.5 };
    int32_t *offset = plumb_case_index(m, a->B + 1), *label = plumb_case_index(m, a->B);
    for (int64_t r = 0; r < a->B; r++) { /* one completion is empty */
        label[r] = (int32_t)plumb_case_below(m, 2);
        offset[r + 1] = offset[r] +
                        (int32_t)(r == 2 ? 0 : 1 + plumb_case_below(m, (uint64_t)c->dim[2]));
    }
    a->offset = offset, a->label = label;
    const int64_t M = offset[a->B];
    const bool differs = !stops_gradient(a->loss);
    plumb_case_in(m, &a->logp, differs ? &a->dlogp : NULL, PLUMB_CASE_STAT, "logp", M, -4, -0.01);
    if (!differs) plumb_case_out(m, &a->dlogp, NULL, PLUMB_CASE_STAT, "dlogp", M);
    if (c->dim[3]) plumb_case_in(m, &a->ref_logp, NULL, PLUMB_CASE_STAT, "ref_logp", M, -4, 0);
    plumb_case_in(m, &a->target, NULL, PLUMB_CASE_STAT, "target", a->B, 0.1, 1);
    if (c->dim[4]) plumb_case_in(m, &a->weight, NULL, PLUMB_CASE_STAT, "weight", a->B, 0.5, 2);
    plumb_case_out(m, &a->losses, NULL, PLUMB_CASE_STAT, "losses", a->B);
    plumb_case_objective(m, &a->losses, 1 / a->divisor);
}

/* Reads logp and ref_logp, writes dlogp; half of the longest length is the mean. */
static double bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    (void)elem;
    return backward ? 0 : 6.0 * (double)c->dim[0] * (double)(c->dim[2] + 1);
}

static int fwd(const struct plumb_device *d, const void *a) { return plumb_tokenwise(d, a); }
static void fwd_ref(const void *a, enum plumb_dtype round) { plumb_tokenwise_ref(a, round); }

extern const struct plumb_op plumb_op_tokenwise[];
const struct plumb_op plumb_op_tokenwise[] = {
    { .name = "tokenwise",
      .cases = cases,
      .case_count = sizeof cases / sizeof *cases,
      .args_bytes = sizeof(struct plumb_tokenwise),
      .setup = setup,
      .fwd = fwd,
      .fwd_ref = fwd_ref,
      .bytes = bytes,
      .f32_only = true },
    { 0 },
};
