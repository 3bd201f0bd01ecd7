/* Cases of dropout. dim: rows, columns, what the stride of x has more, the same of y, accumulate;
 * opt: p, scale. */
#include <plumb/dropout.h>

#include "kernels/op.h"

static const struct plumb_case cases[] = {
    { "a factor", { 5, 12 }, { 0, 2.5 } },
    { "half", { 7, 40 }, { 0.5, 1 } },
    { "a tenth, odd width", { 33, 61 }, { 0.1, 0.75 } },
    { "added", { 9, 30, 0, 0, 1 }, { 0.3, -2 } },
    { "a factor, added", { 9, 30, 0, 0, 1 }, { 0, 0.5 } },
    { "strides", { 6, 300, 8, 5 }, { 0.05, 1 } },
    { "one column", { 17, 1 }, { 0.5, 1 } },
    { "no rows", { 0, 8 }, { 0.5, 1 } },
    { "2048 rows of 1536", { 2048, 1536 }, { 0.05, 1 }, .bench = true },
    { "2048 rows of 1536, added", { 2048, 1536, 0, 0, 1 }, { 0.05, 1 }, .bench = true },
};

static void setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_dropout *a = args;
    const int64_t *d = c->dim;
    *a = (struct plumb_dropout){ .struct_bytes = sizeof *a,
                                 .N = d[0],
                                 .D = d[1],
                                 .ldx = d[1] + d[2],
                                 .ldy = d[1] + d[3],
                                 .p = c->opt[0],
                                 .scale = c->opt[1],
                                 .accumulate = d[4],
                                 .seed = 11,
                                 .step = 3,
                                 .stream = 5 };
    int32_t *sample = plumb_case_index(m, a->N), *position = plumb_case_index(m, a->N);
    for (int64_t n = 0; n < a->N; n++) {
        sample[n] = (int32_t)plumb_case_below(m, 1 << 30);
        position[n] = (int32_t)n;
    }
    a->sample = sample;
    a->position = position;
    plumb_case_in(m, &a->x, NULL, PLUMB_CASE_ACT, "x", a->N * a->ldx, -2, 2);
    plumb_case_inout(m, &a->y, PLUMB_CASE_ACT, "y", a->N * a->ldy, -2, 2);
}

static double bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    (void)backward;
    return (double)(c->dim[0] * c->dim[1]) * (c->dim[4] ? 3 : 2) * (double)elem;
}

static int fwd(const struct plumb_device *d, const void *a) { return plumb_dropout(d, a); }
static void fwd_ref(const void *a, enum plumb_dtype round) { plumb_dropout_ref(a, round); }

extern const struct plumb_op plumb_op_dropout[];
const struct plumb_op plumb_op_dropout[] = {
    { .name = "dropout",
      .cases = cases,
      .case_count = sizeof cases / sizeof *cases,
      .args_bytes = sizeof(struct plumb_dropout),
      .setup = setup,
      .fwd = fwd,
      .fwd_ref = fwd_ref,
      .bytes = bytes },
    { 0 },
};
