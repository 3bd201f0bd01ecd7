/* Cases of the divergences. dim: N rows, width, V vocabulary, M rows compared, valid vocabulary
 * (0 = V), width of the teacher, id of the formula, bits: 1 biases, 2 weights (some 0), 4 a list of
 * rows, 8 batch-invariant. opt: temperature, logit scale, softcap, beta, alpha. */
#include <plumb/distill.h>

#include "kernels/op.h"

static const struct plumb_case cases[] = {
#define PLUMB_FORMULA(ID, NAME, name, text)                                                        \
    { #name, { 7, 16, 50, 7, 0, 24, ID, 2 }, { 1, 1, 0, 0.3, 0.6 } },
#include <plumb/distill.def>
#undef PLUMB_FORMULA
    { "all options", { 12, 24, 70, 9, 61, 17, PLUMB_DIVERGENCE_JSD, 7 }, { 0.8, 0.5, 4, 0.7 } },
    { "the mixture's end", { 5, 8, 33, 5, 0, 8, PLUMB_DIVERGENCE_JSD }, { 2, 1, 0, 1 } },
    { "a large power", { 5, 8, 33, 5, 0, 8, PLUMB_DIVERGENCE_ALPHA, 1 }, { 1, 1, 0, 0, 2.5 } },
    { "one column", { 3, 5, 1, 3, 0, 4 }, { 1, 1 } },
    { "slices and a rest",
      { 5, 8, 2093, 4, 2077, 12, PLUMB_DIVERGENCE_REVERSE_KL, 5 },
      { 1, 1.5 } },
    { "slabs of a device", { 4, 8, 8300, 4, 8291, 8, PLUMB_DIVERGENCE_JSD, 3 }, { 1, 1, 20, 0.5 } },
    { "two chunks", { 1100, 4, 24, 1090, 0, 6, PLUMB_DIVERGENCE_FORWARD_KL, 5 }, { 1, 1 } },
    { "batch-invariant", { 9, 40, 300, 9, 0, 24, PLUMB_DIVERGENCE_FORWARD_KL, 8 }, { 1, 1 } },
    { "no rows", { 4, 6, 10, 0, 0, 6 }, { 1, 1 } },
    { "1k tokens of SmolLM2-135M from 360M",
      { 1024, 576, 49152, 1024, 0, 960, PLUMB_DIVERGENCE_FORWARD_KL },
      { 1, 1 },
      .bench = true },
    { "rows with hardly a product, H 16",
      { 64, 16, 49152, 64, 0, 16, PLUMB_DIVERGENCE_REVERSE_KL },
      { 1, 1 },
      .bench = true },
};

static void head(struct plumb_case_mem *m, struct plumb_distill *a, struct plumb_distill_head *h,
                 bool biased)
{
    const bool own = h == &a->policy;
    plumb_case_in(m, &h->x, own ? &a->dx : NULL, PLUMB_CASE_ACT, own ? "x" : "teacher_x",
                  a->N * h->H, -2, 2);
    plumb_case_in(m, &h->w, own ? &a->dw : NULL, PLUMB_CASE_WEIGHT, own ? "w" : "teacher_w",
                  a->V * h->H, -1, 1);
    if (biased)
        plumb_case_in(m, &h->bias, own ? &a->dbias : NULL, PLUMB_CASE_PARAM,
                      own ? "bias" : "teacher_bias", a->V, -1, 1);
}

static void setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_distill *a = args;
    *a = (struct plumb_distill){ .struct_bytes = sizeof *a,
                                 .divergence = (enum plumb_divergence)c->dim[6],
                                 .N = c->dim[0],
                                 .V = c->dim[2],
                                 .M = c->dim[3],
                                 .valid_vocab = c->dim[4],
                                 .policy = { .H = c->dim[1] },
                                 .teacher = { .H = c->dim[5] },
                                 .temperature = c->opt[0],
                                 .batch_invariant = c->dim[7] >> 3 & 1,
                                 .divisor = 3.5,
                                 .beta = c->opt[3],
                                 .alpha = c->opt[4] };
    a->policy.logit_scale = a->teacher.logit_scale = c->opt[1];
    a->policy.softcap = c->opt[2];
    head(m, a, &a->policy, c->dim[7] & 1);
    head(m, a, &a->teacher, c->dim[7] & 1);
    if (c->dim[7] & 4) { /* those that are left out lie between */
        int32_t *row = plumb_case_index(m, a->M);
        for (int64_t i = 0; i < a->M; i++)
            row[i] = (int32_t)(i + (a->N - a->M) * (i + 1) / (a->M + 1));
        a->row = row;
    }
    if (c->dim[7] & 2) {
        double *weight = plumb_case_bytes(m, (size_t)a->M * sizeof *weight);
        for (int64_t i = 0; i < a->M; i++)
            weight[i] = (double)plumb_case_below(m, 4) / 2;
        plumb_case_in_values(m, &a->weight, NULL, PLUMB_CASE_STAT, "weight", a->M, weight);
    }
    plumb_case_out(m, &a->losses, NULL, PLUMB_CASE_STAT, "losses", a->M);
    if (!c->bench) plumb_case_out(m, &a->entropy, NULL, PLUMB_CASE_STAT, "entropy", a->M);
    plumb_case_objective(m, &a->losses, 1 / a->divisor);
}

/* Reads both x and w, writes dx and adds to dw. */
static double bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    const double x = (double)(c->dim[0] * c->dim[1]), w = (double)(c->dim[2] * c->dim[1]);
    const double teacher = (double)((c->dim[0] + c->dim[2]) * c->dim[5]);
    return backward ? 0 : (double)elem * (2 * x + w + teacher) + 8 * w;
}

static double flops(const struct plumb_case *c, bool backward)
{
    const double logits = (double)(c->dim[3] * c->dim[2]);
    return backward ? 0 : logits * (double)(6 * c->dim[1] + 2 * c->dim[5]);
}

static int fwd(const struct plumb_device *d, const void *a) { return plumb_distill(d, a); }
static void fwd_ref(const void *a, enum plumb_dtype round) { plumb_distill_ref(a, round); }
static size_t workspace(const struct plumb_device *d, const void *a)
{
    return plumb_distill_workspace(d, a);
}

extern const struct plumb_op plumb_op_distill[];
const struct plumb_op plumb_op_distill[] = {
    { .name = "distill",
      .cases = cases,
      .case_count = sizeof cases / sizeof *cases,
      .args_bytes = sizeof(struct plumb_distill),
      .setup = setup,
      .fwd = fwd,
      .fwd_ref = fwd_ref,
      .workspace = workspace,
      .work_offset = offsetof(struct plumb_distill, work),
      .bytes = bytes,
      .flops = flops,
      .products_of_threads = true,
      .all_gradients_of_threads = true },
    { 0 },
};
