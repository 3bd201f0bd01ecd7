/* Cases of the correction weights. dim: B rows, longest row, level, gate, keep, 1 = clip, bits: 1
 * targets, 2 weights, 4 advantages, 8 unknown log-probs. opt: low, high. */
#include <math.h>
#include <plumb/correction.h>

#include "kernels/op.h"

enum { TARGETS = 1, WEIGHTS = 2, ADVANTAGES = 4, UNKNOWN = 8, ALL = 15 };
enum {
    TOKENS = PLUMB_CORRECT_TOKENS,
    MEANS = PLUMB_CORRECT_ROW_MEANS,
    SUMS = PLUMB_CORRECT_ROW_SUMS
};
enum {
    RATIO = PLUMB_GATE_RATIO,
    UNIT = PLUMB_KEEP_UNIT_RATIO,
    EACH = PLUMB_KEEP_TOKEN_RATIO,
    ONE = PLUMB_KEEP_ONE
};

static const struct plumb_case cases[] = {
    { "token_truncate", { 9, 12, TOKENS, RATIO, UNIT, 1, WEIGHTS }, { 0.5, 2 } },
    { "token_mask", { 9, 12, TOKENS, RATIO, UNIT, 0, ALL }, { 0.5, 2 } },
    { "sequence_truncate", { 9, 12, SUMS, RATIO, UNIT, 1, TARGETS | UNKNOWN }, { 0.5, 3 } },
    { "sequence_mask", { 9, 12, SUMS, RATIO, UNIT, 0, 0 }, { 0.2, 3 } },
    { "means, token ratios", { 9, 12, MEANS, RATIO, EACH, 0, ALL }, { 0.7, 1.4 } },
    { "off_policy_mask", { 9, 12, MEANS, PLUMB_GATE_K1, ONE, 0, ADVANTAGES }, { -INFINITY, 0.1 } },
    { "binary KL of tokens", { 9, 12, TOKENS, PLUMB_GATE_BINARY_KL, EACH, 0, ALL }, { 0, 0.05 } },
    { "binary KL of rows", { 9, 12, MEANS, PLUMB_GATE_BINARY_KL, EACH, 0, ALL }, { 0, 0.05 } },
    { "total variation", { 9, 12, TOKENS, PLUMB_GATE_TV, ONE, 0, ALL }, { 0, 0.2 } },
    { "k3 of rows", { 9, 12, SUMS, PLUMB_GATE_K3, UNIT, 0, 0 }, { 0, 1.5 } },
    { "long rows", { 3, 3000, MEANS, RATIO, EACH, 0, UNKNOWN }, { 0.5, 2 } },
    { "many short rows", { 203, 3, SUMS, RATIO, UNIT, 1, WEIGHTS }, { 0.5, 2 } },
    { "no rows", { 0, 3, TOKENS, RATIO, UNIT, 0, 0 }, { 0.5, 2 } },
    { "256 rows of 4k tokens",
      { 256, 4096, TOKENS, RATIO, UNIT, 0, 0 },
      { 0.5, 2 },
      .bench = true },
    { "256 rows of 4k tokens, one ratio",
      { 256, 4096, SUMS, RATIO, UNIT, 0, 0 },
      { 0.5, 2 },
      .bench = true },
};

static void samplers(const struct plumb_case *c, struct plumb_case_mem *m, int64_t M,
                     struct plumb_correction *a)
{
    double *value = plumb_case_bytes(m, (size_t)(M + 1) * sizeof *value);
    for (int64_t i = 0; i < M; i++)
        value[i] = c->dim[6] & UNKNOWN && i % 7 == 3
                       ? NAN
                       : -(double)plumb_case_below(m, 1 << 20) / (1 << 20);
    plumb_case_in_values(m, &a->sampler_logp, NULL, PLUMB_CASE_STAT, "sampler_logp", M, value);
}

static void setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_correction *a = args;
    const enum plumb_case_role stat = PLUMB_CASE_STAT;
    *a = (struct plumb_correction){ .struct_bytes = sizeof *a,
                                    .level = (enum plumb_correction_level)c->dim[2],
                                    .gate = (enum plumb_correction_gate)c->dim[3],
                                    .keep = (enum plumb_correction_keep)c->dim[4],
                                    .clip = c->dim[5] == 1,
                                    .B = c->dim[0],
                                    .low = c->opt[0],
                                    .high = c->opt[1] };
    int32_t *offset = plumb_case_index(m, a->B + 1);
    for (int64_t r = 0; r < a->B; r++) /* one row is empty */
        offset[r + 1] = offset[r] +
                        (int32_t)(r == 2 ? 0 : 1 + plumb_case_below(m, (uint64_t)c->dim[1]));
    const int64_t M = offset[a->B];
    int32_t *target = c->dim[6] & TARGETS ? plumb_case_index(m, M) : NULL;
    for (int64_t i = 0; target && i < M; i++)
        target[i] = (int32_t)plumb_case_below(m, 3) - 1;
    a->offset = offset, a->target = target;
    plumb_case_in(m, &a->logp, NULL, stat, "logp", M, -1, 0);
    samplers(c, m, M, a);
    if (c->dim[6] & ADVANTAGES)
        plumb_case_in(m, &a->advantage, NULL, stat, "advantage", a->B, -1, 0.5);
    if (c->dim[6] & WEIGHTS) plumb_case_in(m, &a->weight, NULL, stat, "weight", M, 0, 2);
    plumb_case_out(m, &a->out, NULL, stat, "out", M);
    plumb_case_out(m, &a->stats, NULL, stat, "stats", a->B * PLUMB_CORRECTION_STATS);
}

/* Reads both log-probs, writes a weight; half of the longest length is the mean. */
static double bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    (void)elem;
    return backward ? 0 : 6.0 * (double)c->dim[0] * (double)(c->dim[1] + 1);
}

static int fwd(const struct plumb_device *d, const void *a) { return plumb_correction(d, a); }
static void fwd_ref(const void *a, enum plumb_dtype round) { plumb_correction_ref(a, round); }

extern const struct plumb_op plumb_op_correction[];
const struct plumb_op plumb_op_correction[] = {
    { .name = "correction",
      .cases = cases,
      .case_count = sizeof cases / sizeof *cases,
      .args_bytes = sizeof(struct plumb_correction),
      .setup = setup,
      .fwd = fwd,
      .fwd_ref = fwd_ref,
      .bytes = bytes,
      .f32_only = true },
    { 0 },
};
