/* Cases of the value loss. dim: B rows, longest row, 1 = row means, 1 = with targets (a third are
 * skipped), 1 = with weights. opt: cliprange. */
#include <plumb/value.h>

#include "kernels/op.h"

static const struct plumb_case cases[] = {
    { "clipped", { 9, 12, 0, 1, 1 }, { 0.2 } },
    { "not clipped", { 9, 12, 1 }, { 0 } },
    { "row means", { 9, 12, 1, 0, 1 }, { 0.5 } },
    { "row means of some", { 9, 12, 1, 1 }, { 0.3 } },
    { "long rows", { 3, 3000, 1 }, { 0.2 } },
    { "many short rows", { 203, 3, 0, 1 }, { 0.2 } },
    { "no rows", { 0, 3 }, { 0.2 } },
    { "256 rows of 4k tokens", { 256, 4096 }, { 0.2 }, .bench = true },
};

static void setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_value_loss *a = args;
    const enum plumb_case_role stat = PLUMB_CASE_STAT;
    *a = (struct plumb_value_loss){ .struct_bytes = sizeof *a,
                                    .aggregation = (enum plumb_policy_aggregation)c->dim[2],
                                    .B = c->dim[0],
                                    .cliprange = c->opt[0],
                                    .divisor = 3.5 };
    int32_t *offset = plumb_case_index(m, a->B + 1);
    for (int64_t r = 0; r < a->B; r++) /* one row is empty */
        offset[r + 1] = offset[r] +
                        (int32_t)(r == 2 ? 0 : 1 + plumb_case_below(m, (uint64_t)c->dim[1]));
    const int64_t M = offset[a->B];
    int32_t *target = c->dim[3] ? plumb_case_index(m, M) : NULL;
    for (int64_t i = 0; target && i < M; i++)
        target[i] = (int32_t)plumb_case_below(m, 3) - 1;
    a->offset = offset, a->target = target;
    plumb_case_in(m, &a->value, &a->dvalue, stat, "value", M, -1, 1);
    if (a->cliprange > 0) plumb_case_in(m, &a->old_value, NULL, stat, "old_value", M, -1, 1);
    plumb_case_in(m, &a->returns, NULL, stat, "returns", M, -1, 1);
    if (c->dim[4]) plumb_case_in(m, &a->weight, NULL, stat, "weight", M, -0.5, 1.5);
    plumb_case_out(m, &a->losses, NULL, stat, "losses", a->B);
    plumb_case_out(m, &a->clipped, NULL, stat, "clipped", a->B);
    plumb_case_objective(m, &a->losses, 1 / a->divisor);
}

/* Reads value, old_value and returns, writes dvalue; half of the longest length is the mean. */
static double bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    (void)elem;
    return backward ? 0 : 8.0 * (double)c->dim[0] * (double)(c->dim[1] + 1);
}

static int fwd(const struct plumb_device *d, const void *a) { return plumb_value_loss(d, a); }
static void fwd_ref(const void *a, enum plumb_dtype round) { plumb_value_loss_ref(a, round); }

extern const struct plumb_op plumb_op_value_loss[];
const struct plumb_op plumb_op_value_loss[] = {
    { .name = "value_loss",
      .cases = cases,
      .case_count = sizeof cases / sizeof *cases,
      .args_bytes = sizeof(struct plumb_value_loss),
      .setup = setup,
      .fwd = fwd,
      .fwd_ref = fwd_ref,
      .bytes = bytes,
      .f32_only = true },
    { 0 },
};
