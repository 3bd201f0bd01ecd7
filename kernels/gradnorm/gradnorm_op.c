/* Cases of the gradient norm. dim: elements, start (elements past the array's), index of an
 * element + 1 that is not finite. opt: that element. */
#include <plumb/optim.h>

#include <math.h>

#include "kernels/op.h"

static const struct plumb_case cases[] = {
    { "one block and a tail", { 9000 } },
    { "no elements", { 0 } },
    { "one element", { 1 } },
    { "many blocks, more than one round of merging", { 2200007 } },
    { "an unaligned start", { 33000, 1 } },
    { "infinite", { 20003, 0, 16385 }, { INFINITY } },
    { "not a number, unaligned, the last", { 20003, 3, 20003 }, { NAN } },
    { "4 M gradients", { 4 << 20 }, .bench = true },
    { "100 M gradients", { 100000000 }, .bench = true },
};

static void setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_gradnorm *a = args;
    *a = (struct plumb_gradnorm){ .struct_bytes = sizeof *a, .count = c->dim[0] };
    const int64_t start = c->dim[1], bad = c->dim[2] - 1, all = start + a->count;
    if (bad < 0) {
        plumb_case_in(m, &a->x, NULL, PLUMB_CASE_STAT, "x", all, -2, 2);
    } else {
        double *x = plumb_case_bytes(m, (size_t)all * sizeof *x);
        for (int64_t i = 0; i < all; i++)
            x[i] = (double)plumb_case_below(m, 4001) / 1000 - 2;
        x[start + bad] = c->opt[0];
        plumb_case_in_values(m, &a->x, NULL, PLUMB_CASE_STAT, "x", all, x);
    }
    a->x.data = (char *)a->x.data + (size_t)start * plumb_dtype_bytes(a->x.dtype);
    a->norm = plumb_case_f64_out(m, "norm", 1);
    a->first_bad = plumb_case_i64_out(m, "first_bad", 1);
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
