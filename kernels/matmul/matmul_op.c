/* Cases of the matrix product. dim: M, N, K, transposes (1 = A, 2 = B), 1 = accumulate, bias (1
 * = f32, 2 = dtype of b), extra elements in lda and ldb, 1 = C in the dtype of activations (else
 * f32), 1 = batch-invariant. */
#include <plumb/matmul.h>

#include "kernels/op.h"

enum { M, N, K, TRANS, ACCUMULATE, BIAS, GAP, NARROW, INVARIANT };

static const struct plumb_case cases[] = {
    { "plain, odd sizes", { 5, 7, 33 } },
    { "A transposed", { 17, 9, 40, 1 } },
    { "B transposed, gaps between rows", { 12, 31, 65, 2, 0, 0, 3 } },
    { "both transposed, gaps", { 6, 10, 21, 3, 0, 0, 5 } },
    { "accumulate, as a weight gradient", { 48, 33, 70, 1, 1 } },
    { "accumulate into activations", { 9, 16, 20, 2, 1, 0, 0, 1 } },
    { "f32 bias, activations out", { 13, 24, 50, 2, 0, 1, 0, 1 } },
    { "bias in b's dtype", { 7, 19, 64, 2, 0, 2 } },
    { "one row, invariant", { 1, 40, 128, 2, 0, 0, 0, 1, 1 } },
    { "invariant with bias", { 11, 40, 96, 2, 0, 1, 0, 0, 1 } },
    { "one element", { 1, 1, 1 } },
    { "empty sum with bias", { 3, 4, 0, 2, 0, 1 } },
    { "empty sum, accumulated", { 3, 4, 0, 0, 1 } },
    { "no rows", { 0, 8, 8 } },
    { "no columns", { 4, 0, 8 } },
    { "1k tokens of SmolLM2-135M, up and gate", { 1024, 3072, 576, 2, 0, 0, 0, 1 }, .bench = true },
    { "its weight gradient", { 3072, 576, 1024, 1, 1 }, .bench = true },
    { "its logits", { 1024, 49152, 576, 2 }, .bench = true },
    { "one token of width 2048", { 1, 2048, 2048, 2, 0, 0, 0, 1 }, .bench = true },
    { "the same, invariant", { 1, 2048, 2048, 2, 0, 0, 0, 1, 1 }, .bench = true },
};

static void setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_matmul *a = args;
    const int64_t *d = c->dim;
    *a = (struct plumb_matmul){ .struct_bytes = sizeof *a,
                                .M = d[M],
                                .N = d[N],
                                .K = d[K],
                                .trans_a = d[TRANS] & 1,
                                .trans_b = d[TRANS] & 2,
                                .accumulate = d[ACCUMULATE],
                                .batch_invariant = d[INVARIANT] };
    a->lda = (a->trans_a ? a->M : a->K) + d[GAP];
    a->ldb = (a->trans_b ? a->K : a->N) + d[GAP];
    plumb_case_in(m, &a->a, NULL, PLUMB_CASE_ACT, "a", (a->trans_a ? a->K : a->M) * a->lda, -1, 1);
    plumb_case_in(m, &a->b, NULL, PLUMB_CASE_ACT, "b", (a->trans_b ? a->N : a->K) * a->ldb, -1, 1);
    if (d[BIAS])
        plumb_case_in(m, &a->bias, NULL, d[BIAS] == 1 ? PLUMB_CASE_PARAM : PLUMB_CASE_ACT, "bias",
                      a->N, -1, 1);
    const enum plumb_case_role out = d[NARROW] ? PLUMB_CASE_ACT : PLUMB_CASE_STAT;
    if (a->accumulate)
        plumb_case_inout(m, &a->c, out, "c", a->M * a->N, -1, 1);
    else
        plumb_case_out(m, &a->c, NULL, out, "c", a->M * a->N);
}

static double bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    (void)backward;
    const double m = (double)c->dim[M], n = (double)c->dim[N], k = (double)c->dim[K];
    const double out = (c->dim[NARROW] ? (double)elem : 4) * (c->dim[ACCUMULATE] ? 2 : 1);
    return (double)elem * (m * k + k * n) + out * m * n;
}

static double flops(const struct plumb_case *c, bool backward)
{
    (void)backward;
    return 2 * (double)c->dim[M] * (double)c->dim[N] * (double)c->dim[K];
}

static int fwd(const struct plumb_device *d, const void *a) { return plumb_matmul(d, a); }
static void fwd_ref(const void *a, enum plumb_dtype round) { plumb_matmul_ref(a, round); }

extern const struct plumb_op plumb_op_matmul[];
const struct plumb_op plumb_op_matmul[] = {
    { .name = "matmul",
      .cases = cases,
      .case_count = sizeof cases / sizeof *cases,
      .args_bytes = sizeof(struct plumb_matmul),
      .setup = setup,
      .fwd = fwd,
      .fwd_ref = fwd_ref,
      .bytes = bytes,
      .flops = flops },
    { 0 },
};
