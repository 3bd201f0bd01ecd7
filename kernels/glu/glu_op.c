/* Cases of the MLP's activation. dim: N rows, F width, kind. */
#include <plumb/glu.h>

#include "kernels/op.h"

static const struct plumb_case cases[] = {
    { "swiglu, odd width", { 3, 37, PLUMB_ACT_SWIGLU } },
    { "geglu tanh", { 5, 64, PLUMB_ACT_GEGLU_TANH } },
    { "geglu erf", { 4, 48, PLUMB_ACT_GEGLU_ERF } },
    { "gelu tanh, one element", { 1, 1, PLUMB_ACT_GELU_TANH } },
    { "gelu erf", { 7, 33, PLUMB_ACT_GELU_ERF } },
    { "wider than a block", { 3, 2056, PLUMB_ACT_SWIGLU } },
    { "wider than a block, odd", { 2, 531, PLUMB_ACT_GEGLU_TANH } },
    { "no rows", { 0, 16, PLUMB_ACT_SWIGLU } },
    { "1k tokens of SmolLM2-135M", { 1024, 1536, PLUMB_ACT_SWIGLU }, .bench = true },
};

static void setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_glu *a = args;
    *a = (struct plumb_glu){ .struct_bytes = sizeof *a,
                             .N = c->dim[0],
                             .F = c->dim[1],
                             .kind = (enum plumb_act_kind)c->dim[2] };
    const int64_t in = a->N * a->F * (plumb_act_is_gated(a->kind) ? 2 : 1);
    plumb_case_in(m, &a->x, &a->dx, PLUMB_CASE_ACT, "x", in, -6, 6);
    plumb_case_out(m, &a->y, &a->dy, PLUMB_CASE_ACT, "y", a->N * a->F);
}

/* Forward reads x and writes y; backward reads x and dy and writes dx. */
static double bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    const double in = plumb_act_is_gated((enum plumb_act_kind)c->dim[2]) ? 2 : 1;
    return (double)elem * (double)(c->dim[0] * c->dim[1]) * (backward ? 2 * in + 1 : in + 1);
}

static int fwd(const struct plumb_device *d, const void *a) { return plumb_glu_fwd(d, a); }
static int bwd(const struct plumb_device *d, const void *a) { return plumb_glu_bwd(d, a); }
static void fwd_ref(const void *a, enum plumb_dtype round) { plumb_glu_fwd_ref(a, round); }
static void bwd_ref(const void *a, enum plumb_dtype round) { plumb_glu_bwd_ref(a, round); }

extern const struct plumb_op plumb_op_glu[];
const struct plumb_op plumb_op_glu[] = {
    { .name = "glu",
      .cases = cases,
      .case_count = sizeof cases / sizeof *cases,
      .args_bytes = sizeof(struct plumb_glu),
      .setup = setup,
      .fwd = fwd,
      .bwd = bwd,
      .fwd_ref = fwd_ref,
      .bwd_ref = bwd_ref,
      .bytes = bytes },
    { 0 },
};
