/* Cases of the norms. dim: N rows, G groups, D width, kind, 1 = with delta, 1 = x is an activation
 * instead of a residual stream, elements between rows of x, of y, 1 = dx in place of dsum, 2 = of
 * dy. opt: offset of the weight. */
#include <plumb/norm.h>

#include "kernels/op.h"

enum { LAYER = PLUMB_NORM_LAYER, RMS = PLUMB_NORM_RMS };
static const struct plumb_case cases[] = {
    { "rms, odd width", { 5, 1, 37, RMS } },
    { "rms with residual", { 6, 1, 64, RMS, 1 } },
    { "rms, weight offset 1", { 3, 1, 48, RMS, 1 }, { 1 } },
    { "layer, odd width", { 5, 1, 37, LAYER } },
    { "layer with residual", { 4, 1, 96, LAYER, 1 } },
    { "rms of heads", { 7, 3, 16, RMS, 0, 1 } },
    { "layer of groups", { 2, 5, 9, LAYER, 0, 1 } },
    { "more rows than a block", { 67, 1, 24, LAYER, 1 } },
    { "wider than a chunk", { 2, 1, 1100, LAYER, 1 } },
    { "wider than a chunk, odd", { 3, 1, 1101, RMS, 1, 0, 0, 0, 1 } },
    { "wider than the registers", { 3, 1, 8196, LAYER, 1 } },
    { "wider than the registers, odd", { 2, 2, 8201, RMS } },
    { "wider than shared memory", { 2, 1, 24580, LAYER, 0, 1, 0, 0, 2 } },
    { "several blocks", { 150, 1, 576, RMS, 1, 0, 0, 0, 1 } },
    { "several blocks of heads", { 150, 3, 64, RMS, 0, 1, 0, 0, 2 } },
    { "several blocks of narrow rows", { 700, 1, 21, LAYER, 0, 1 } },
    { "heads, rows apart", { 40, 2, 32, RMS, 0, 1, 64, 12 } },
    { "heads, rows apart, unaligned", { 40, 2, 32, RMS, 0, 1, 66, 3 } },
    { "one element", { 2, 1, 1, RMS } },
    { "no rows", { 0, 1, 16, RMS, 1 } },
    { "1k tokens of SmolLM2-135M", { 1024, 1, 576, RMS, 1 }, .bench = true },
    { "1k tokens of GPT-2", { 1024, 1, 768, LAYER, 1 }, .bench = true },
    { "1k tokens, q heads of Qwen3-0.6B", { 1024, 16, 128, RMS, 0, 1 }, .bench = true },
};

static void setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_norm *a = args;
    *a = (struct plumb_norm){ .struct_bytes = sizeof *a,
                              .N = c->dim[0],
                              .G = c->dim[1],
                              .D = c->dim[2],
                              .kind = (enum plumb_norm_kind)c->dim[3],
                              .eps = 1e-5,
                              .offset = c->opt[0] };
    const int64_t row = a->G * a->D, count = a->N * row;
    if (c->dim[6]) a->ldx = row + c->dim[6];
    if (c->dim[7]) a->ldy = row + c->dim[7];
    const enum plumb_case_role role = c->dim[5] ? PLUMB_CASE_ACT : PLUMB_CASE_RESID;
    plumb_case_in(m, &a->x, &a->dx, role, "x", a->N * (row + c->dim[6]), -2, 3);
    if (c->dim[4]) {
        plumb_case_in(m, &a->delta, NULL, PLUMB_CASE_ACT, "delta", count, -1, 1);
        plumb_case_out(m, &a->sum, &a->dsum, role, "sum", count);
        plumb_case_alias(m, &a->sum, &a->x); /* backward finds s in x */
    }
    plumb_case_in(m, &a->w, &a->dw, PLUMB_CASE_WEIGHT, "w", a->D, 0.5, 1.5);
    plumb_case_out(m, &a->y, &a->dy, PLUMB_CASE_ACT, "y", a->N * (row + c->dim[7]));
    plumb_case_out(m, &a->rstd, NULL, PLUMB_CASE_STAT, "rstd", a->N * a->G);
    if (c->dim[8]) plumb_case_alias(m, &a->dx, c->dim[8] == 1 ? &a->dsum : &a->dy);
    if (a->kind == PLUMB_NORM_RMS) return;
    plumb_case_in(m, &a->b, &a->db, PLUMB_CASE_WEIGHT, "b", a->D, -1, 1);
    plumb_case_out(m, &a->mean, NULL, PLUMB_CASE_STAT, "mean", a->N * a->G);
}

/* Forward reads x, delta and the weights, writes sum, y and the statistics; backward reads s, dy,
 * dsum, w and the statistics, writes dx, adds to dw and db. The residual stream is f32. */
static double bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    const double groups = (double)(c->dim[0] * c->dim[1]), width = (double)c->dim[2],
                 n = groups * width, act = (double)elem, stream = c->dim[5] ? act : 4,
                 vectors = c->dim[3] == LAYER ? 2 : 1, statistics = 4 * vectors * groups;
    if (backward)
        return n * (act + stream * (c->dim[4] ? 3 : 2)) + statistics + width * (act + 8 * vectors);
    return n * (c->dim[4] ? 2 * stream + 2 * act : stream + act) + statistics +
           width * act * vectors;
}

static int fwd(const struct plumb_device *d, const void *a) { return plumb_norm_fwd(d, a); }
static int bwd(const struct plumb_device *d, const void *a) { return plumb_norm_bwd(d, a); }
static void fwd_ref(const void *a, enum plumb_dtype round) { plumb_norm_fwd_ref(a, round); }
static void bwd_ref(const void *a, enum plumb_dtype round) { plumb_norm_bwd_ref(a, round); }
static size_t workspace(const struct plumb_device *d, const void *a)
{
    return plumb_norm_bwd_workspace(d, a);
}

extern const struct plumb_op plumb_op_norm[];
const struct plumb_op plumb_op_norm[] = {
    { .name = "norm",
      .cases = cases,
      .case_count = sizeof cases / sizeof *cases,
      .args_bytes = sizeof(struct plumb_norm),
      .setup = setup,
      .fwd = fwd,
      .bwd = bwd,
      .fwd_ref = fwd_ref,
      .bwd_ref = bwd_ref,
      .workspace = workspace,
      .work_offset = offsetof(struct plumb_norm, work),
      .bytes = bytes },
    { 0 },
};
