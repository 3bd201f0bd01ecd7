/* Cases of the conversion. dim: elements, x in the dtype of activations (else f32), y likewise,
 * accumulate, start (elements past the arrays'). */
#include <plumb/optim.h>

#include "kernels/op.h"

static const struct plumb_case cases[] = {
    { "f32 to activations", { 37, 0, 1 } },
    { "activations to f32", { 70000, 1, 0 } },
    { "activations added to f32", { 129, 1, 0, 1 } },
    { "f32 added to activations", { 65, 0, 1, 1 } },
    { "activations added to activations, unaligned", { 3001, 1, 1, 1, 3 } },
    { "f32 to activations, unaligned", { 5000, 0, 1, 0, 1 } },
    { "nothing", { 0, 0, 1 } },
    { "4 M weights to activations", { 4 << 20, 0, 1 }, .bench = true },
    { "100 M weights to activations", { 100000000, 0, 1 }, .bench = true },
};

static void setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_cast *a = args;
    const int64_t *d = c->dim;
    *a = (struct plumb_cast){ .struct_bytes = sizeof *a, .count = d[0], .accumulate = d[3] };
    const enum plumb_case_role from = d[1] ? PLUMB_CASE_ACT : PLUMB_CASE_STAT;
    const enum plumb_case_role to = d[2] ? PLUMB_CASE_ACT : PLUMB_CASE_STAT;
    const int64_t start = d[4], all = start + a->count;
    plumb_case_in(m, &a->x, NULL, from, "x", all, -4, 4);
    if (a->accumulate)
        plumb_case_inout(m, &a->y, to, "y", all, -4, 4);
    else
        plumb_case_out(m, &a->y, NULL, to, "y", all);
    a->x.data = (char *)a->x.data + (size_t)start * plumb_dtype_bytes(a->x.dtype);
    a->y.data = (char *)a->y.data + (size_t)start * plumb_dtype_bytes(a->y.dtype);
}

static double bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    (void)backward;
    const double x = c->dim[1] ? (double)elem : 4, y = c->dim[2] ? (double)elem : 4;
    return (double)c->dim[0] * (x + (c->dim[3] ? 2 : 1) * y);
}

static int fwd(const struct plumb_device *d, const void *a) { return plumb_cast(d, a); }
static void fwd_ref(const void *a, enum plumb_dtype round) { plumb_cast_ref(a, round); }

extern const struct plumb_op plumb_op_cast[];
const struct plumb_op plumb_op_cast[] = {
    { .name = "cast",
      .cases = cases,
      .case_count = sizeof cases / sizeof *cases,
      .args_bytes = sizeof(struct plumb_cast),
      .setup = setup,
      .fwd = fwd,
      .fwd_ref = fwd_ref,
      .bytes = bytes },
    { 0 },
};
