/* Cases of the reductions. segsum: elements, runs, mean, 1 = weights; opt: scale, discount.
 * colsum: rows, columns, extra elements between rows. */
#include <plumb/reduce.h>

#include "kernels/op.h"

static const struct plumb_case segsum_cases[] = {
    { "sums", { 100, 7, 0 } },
    { "means", { 333, 12, 1 } },
    { "one run of one", { 1, 1, 1 } },
    { "no runs", { 5, 0 } },
    { "nothing but empty runs", { 0, 3, 1 } },
    { "runs that start and end in one sector", { 40, 33, 1 } },
    { "long and short runs", { 20000, 5, 0 } },
    { "several threads", { 70000, 40, 1 } },
    { "scaled and discounted", { 333, 12, 0 }, { -0.25, 0.9375 } },
    { "means of long runs, discounted", { 20000, 5, 1 }, { 0, 0.999 } },
    { "weighted", { 3333, 12, 0, 1 } },
    { "weighted means, scaled and discounted", { 5000, 12, 1, 1 }, { -0.25, 0.9375 } },
    { "64 k log-probs in 512 sequences", { 65536, 512 }, .bench = true },
    { "1 M log-probs in 2048 sequences", { 1 << 20, 2048, 1 }, .bench = true },
};

static void segsum_setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_segsum *a = args;
    *a = (struct plumb_segsum){ .struct_bytes = sizeof *a,
                                .M = c->dim[0],
                                .R = c->dim[1],
                                .mean = c->dim[2],
                                .scale = c->opt[0],
                                .discount = c->opt[1] };
    int32_t *offset = plumb_case_index(m, a->R + 1);
    /* Each run takes up to its share twice over, so some are empty and all but the last leave a
     * rest. */
    for (int64_t r = 0; r < a->R; r++) {
        const uint64_t left = (uint64_t)(a->M - offset[r]);
        const uint64_t share = 1 + 2 * (uint64_t)a->M / (uint64_t)a->R;
        offset[r + 1] = offset[r] + (int32_t)plumb_case_below(m, (share < left ? share : left) + 1);
    }
    a->offset = offset;
    plumb_case_in(m, &a->x, &a->dx, PLUMB_CASE_STAT, "x", offset[a->R], -3, 3);
    plumb_case_out(m, &a->y, &a->dy, PLUMB_CASE_STAT, "y", a->R);
    if (c->dim[3])
        plumb_case_in(m, &a->weight, NULL, PLUMB_CASE_STAT, "weight", offset[a->R], 0, 2);
    a->M = offset[a->R];
}

static double segsum_bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    (void)elem, (void)backward;
    return 4 * (double)(c->dim[0] + c->dim[1]);
}

static const struct plumb_case colsum_cases[] = {
    { "one row", { 1, 9 } },
    { "blocks and a tail, gaps", { 300, 33, 5 } },
    { "whole vectors, gaps", { 260, 264, 8 } },
    { "wider than a strip", { 129, 1100 } },
    { "no rows", { 0, 8 } },
    { "1k tokens of SmolLM2-135M, gradient of a bias", { 1024, 1536 }, .bench = true },
};

static void colsum_setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_colsum *a = args;
    *a = (struct plumb_colsum){ .struct_bytes = sizeof *a, .N = c->dim[0], .D = c->dim[1] };
    if (c->dim[2]) a->ldx = a->D + c->dim[2];
    plumb_case_in(m, &a->x, NULL, PLUMB_CASE_ACT, "x", a->N * (a->D + c->dim[2]), -2, 2);
    plumb_case_inout(m, &a->y, PLUMB_CASE_STAT, "y", a->D, -1, 1);
}

static double colsum_bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    (void)backward;
    return (double)(c->dim[0] * c->dim[1]) * (double)elem + 8 * (double)c->dim[1];
}

static int sum_fwd(const struct plumb_device *d, const void *a) { return plumb_segsum_fwd(d, a); }
static int sum_bwd(const struct plumb_device *d, const void *a) { return plumb_segsum_bwd(d, a); }
static void sum_fwd_ref(const void *a, enum plumb_dtype round) { plumb_segsum_fwd_ref(a, round); }
static void sum_bwd_ref(const void *a, enum plumb_dtype round) { plumb_segsum_bwd_ref(a, round); }
static int col_fwd(const struct plumb_device *d, const void *a) { return plumb_colsum(d, a); }
static void col_fwd_ref(const void *a, enum plumb_dtype round) { plumb_colsum_ref(a, round); }
static size_t col_workspace(const struct plumb_device *d, const void *a)
{
    return plumb_colsum_workspace(d, a);
}

extern const struct plumb_op plumb_op_reduce[];
const struct plumb_op plumb_op_reduce[] = {
    { .name = "segsum",
      .cases = segsum_cases,
      .case_count = sizeof segsum_cases / sizeof *segsum_cases,
      .args_bytes = sizeof(struct plumb_segsum),
      .setup = segsum_setup,
      .fwd = sum_fwd,
      .bwd = sum_bwd,
      .fwd_ref = sum_fwd_ref,
      .bwd_ref = sum_bwd_ref,
      .bytes = segsum_bytes,
      .f32_only = true },
    { .name = "colsum",
      .cases = colsum_cases,
      .case_count = sizeof colsum_cases / sizeof *colsum_cases,
      .args_bytes = sizeof(struct plumb_colsum),
      .setup = colsum_setup,
      .fwd = col_fwd,
      .fwd_ref = col_fwd_ref,
      .workspace = col_workspace,
      .work_offset = offsetof(struct plumb_colsum, work),
      .bytes = colsum_bytes },
    { 0 },
};
