/* Cases of the gradient norm. dim: elements. The norm is a host double, so its value is checked in
 * gradnorm_test; the cases here are for the bench. */
#include <plumb/optim.h>

#include "kernels/op.h"

static const struct plumb_case cases[] = {
    { "one block and a tail", { 9000 } },
    { "100 M gradients", { 100000000 }, .bench = true },
};

static void setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_gradnorm *a = args;
    *a = (struct plumb_gradnorm){ .struct_bytes = sizeof *a, .count = c->dim[0] };
    plumb_case_in(m, &a->x, NULL, PLUMB_CASE_STAT, "x", a->count, -2, 2);
    a->norm = plumb_case_device_bytes(m, sizeof *a->norm);
    a->first_bad = plumb_case_device_bytes(m, sizeof *a->first_bad);
}

static double bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    (void)elem, (void)backward;
    return 4 * (double)c->dim[0];
}

static int fwd(const struct plumb_device *d, const void *a) { return plumb_gradnorm(d, a); }
static void fwd_ref(const void *a, enum plumb_dtype round) { plumb_gradnorm_ref(a, round); }
static size_t workspace(const struct plumb_device *d, const void *a)
{
    return plumb_gradnorm_workspace(d, a);
}

extern const struct plumb_op plumb_op_gradnorm[];
const struct plumb_op plumb_op_gradnorm[] = {
    { .name = "gradnorm",
      .cases = cases,
      .case_count = sizeof cases / sizeof *cases,
      .args_bytes = sizeof(struct plumb_gradnorm),
      .setup = setup,
      .fwd = fwd,
      .fwd_ref = fwd_ref,
      .workspace = workspace,
      .work_offset = offsetof(struct plumb_gradnorm, work),
      .bytes = bytes,
      .f32_only = true },
    { 0 },
};
