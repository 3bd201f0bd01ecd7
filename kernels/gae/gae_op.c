/* Cases of advantage estimation. dim: R sequences, longest, 1 = with values, 1 = with skipped
 * tokens, 1 = with baselines, 1 = with returns. opt: gamma, lambda. */
#include <plumb/gae.h>

#include "kernels/op.h"

static const struct plumb_case cases[] = {
    { "gae", { 9, 20, 1, 0, 0, 1 }, { 1, 0.95 } },
    { "skipped tokens", { 9, 70, 1, 1, 0, 1 }, { 0.99, 0.95 } },
    { "returns to go", { 7, 40 }, { 0.9, 1 } },
    { "baselines", { 7, 40, 0, 1, 1, 1 }, { 1, 1 } },
    { "no look ahead", { 5, 150, 1, 1, 0, 1 }, { 0.9, 0 } },
    { "long sequences", { 3, 3000, 1, 0, 0, 1 }, { 1, 0.97 } },
    { "long sequences, skipped tokens, advantages alone", { 4, 1500, 1, 1 }, { 0.999, 1 } },
    { "many of one token", { 200, 1, 1, 0, 1, 1 }, { 0.5, 0.5 } },
    { "no sequences", { 0, 5, 1 }, { 1, 1 } },
    { "2k sequences of 1024 tokens", { 2048, 1024, 1, 0, 0, 1 }, { 1, 0.95 }, .bench = true },
};

static void setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_gae *a = args;
    *a = (struct plumb_gae){ .struct_bytes = sizeof *a,
                             .R = c->dim[0],
                             .gamma = c->opt[0],
                             .lambda = c->opt[1] };
    int32_t *offset = plumb_case_index(m, a->R + 1);
    for (int64_t r = 0; r < a->R; r++) /* one sequence is empty */
        offset[r + 1] = offset[r] +
                        (int32_t)(r == 2 ? 0 : 1 + plumb_case_below(m, (uint64_t)c->dim[1]));
    a->offset = offset;
    const int64_t M = offset[a->R];
    int32_t *counted = c->dim[3] ? plumb_case_index(m, M) : NULL;
    for (int64_t t = 0; counted && t < M; t++)
        counted[t] = plumb_case_below(m, 4) > 0;
    a->counted = counted;
    plumb_case_in(m, &a->reward, NULL, PLUMB_CASE_STAT, "reward", M, -1, 1);
    if (c->dim[2]) plumb_case_in(m, &a->value, NULL, PLUMB_CASE_STAT, "value", M, -2, 2);
    if (c->dim[4]) plumb_case_in(m, &a->baseline, NULL, PLUMB_CASE_STAT, "baseline", a->R, -2, 2);
    plumb_case_out(m, &a->advantage, NULL, PLUMB_CASE_STAT, "advantage", M);
    if (c->dim[5]) plumb_case_out(m, &a->returns, NULL, PLUMB_CASE_STAT, "returns", M);
}

/* Reads rewards and values, writes advantages and returns; half of the longest is the mean. */
static double bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    (void)elem;
    const double each = 8.0 + 4.0 * (double)(c->dim[2] + c->dim[3] + c->dim[5]);
    return backward ? 0 : each * (double)c->dim[0] * (double)(c->dim[1] + 1) / 2;
}

static int fwd(const struct plumb_device *d, const void *a) { return plumb_gae(d, a); }
static void fwd_ref(const void *a, enum plumb_dtype round) { plumb_gae_ref(a, round); }

extern const struct plumb_op plumb_op_gae[];
const struct plumb_op plumb_op_gae[] = {
    { .name = "gae",
      .cases = cases,
      .case_count = sizeof cases / sizeof *cases,
      .args_bytes = sizeof(struct plumb_gae),
      .setup = setup,
      .fwd = fwd,
      .fwd_ref = fwd_ref,
      .bytes = bytes,
      .f32_only = true },
    { 0 },
};
