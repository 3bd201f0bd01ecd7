/* Cases of the head. dim: N rows, H width, V vocabulary, M pairs, valid vocabulary (0 = V),
 * bias 0/1, rows named: 0 = pair i has row i mod N, 1 = random rows, some several times in a row,
 * 1 = batch-invariant.
 * opt: logit scale, softcap, temperature. Every ninth pair is skipped. */
#include <plumb/logprob.h>

#include "kernels/op.h"

static const struct plumb_case cases[] = {
    { "plain", { 7, 16, 50, 7 }, { 1, 0, 1 } },
    { "all options, several targets a row", { 9, 24, 70, 30, 61, 1, 1 }, { 0.5, 4, 0.8 } },
    { "temperature and bias", { 5, 33, 129, 12, 0, 1, 1 }, { 1, 0, 2.5 } },
    { "softcap alone", { 6, 20, 65, 11, 0, 0, 1 }, { 1, 3, 1 } },
    { "one column", { 3, 5, 1, 4 }, { 1, 0, 1 } },
    { "two slices of the vocabulary and a rest", { 5, 8, 2093, 9, 2077, 1, 1 }, { 1.5, 0, 1 } },
    { "three slabs of a device", { 4, 8, 8300, 6, 8291, 1, 1 }, { 1, 20, 1 } },
    { "two chunks of a device, rows in both", { 40, 4, 24, 2100, 0, 1, 1 }, { 1, 0, 1 } },
    { "batch-invariant", { 9, 40, 300, 20, 0, 1, 1, 1 }, { 1, 0, 1 } },
    { "no pairs", { 4, 6, 10, 0 }, { 1, 0, 1 } },
    { "2k tokens of SmolLM2-135M", { 2048, 576, 49152, 2048 }, { 1, 0, 1 }, .bench = true },
    { "512 tokens, H 2048, V 32768", { 512, 2048, 32768, 512 }, { 1, 0, 1 }, .bench = true },
    { "rows with hardly a product, H 16", { 64, 16, 49152, 64 }, { 1, 0, 1 }, .bench = true },
};

static void set_pairs(const struct plumb_case *c, struct plumb_case_mem *m, struct plumb_logprob *a)
{
    const int64_t vocab = a->valid_vocab ? a->valid_vocab : a->V;
    int32_t *row = plumb_case_index(m, a->M), *target = plumb_case_index(m, a->M);
    for (int64_t i = 0; i < a->M; i++) {
        const bool same = c->dim[6] && i > 0 && plumb_case_below(m, 3) == 0;
        row[i] = (int32_t)(i % a->N);
        if (c->dim[6]) row[i] = same ? row[i - 1] : (int32_t)plumb_case_below(m, (uint64_t)a->N);
        target[i] = i % 9 == 4 ? -1 : (int32_t)plumb_case_below(m, (uint64_t)vocab);
    }
    a->row = row;
    a->target = target;
}

static void setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_logprob *a = args;
    *a = (struct plumb_logprob){ .struct_bytes = sizeof *a,
                                 .N = c->dim[0],
                                 .H = c->dim[1],
                                 .V = c->dim[2],
                                 .M = c->dim[3],
                                 .valid_vocab = c->dim[4],
                                 .batch_invariant = c->dim[7],
                                 .logit_scale = c->opt[0],
                                 .softcap = c->opt[1],
                                 .temperature = c->opt[2] };
    const int64_t M = a->M;
    set_pairs(c, m, a);
    plumb_case_in(m, &a->x, &a->dx, PLUMB_CASE_ACT, "x", a->N * a->H, -2, 2);
    plumb_case_in(m, &a->w, &a->dw, PLUMB_CASE_WEIGHT, "w", a->V * a->H, -1, 1);
    if (c->dim[5]) plumb_case_in(m, &a->bias, &a->dbias, PLUMB_CASE_PARAM, "bias", a->V, -1, 1);
    plumb_case_out(m, &a->logp, &a->dlogp, PLUMB_CASE_STAT, "logp", M);
    if (c->bench) return;
    plumb_case_out(m, &a->lse, &a->dlse, PLUMB_CASE_STAT, "lse", M);
    plumb_case_out(m, &a->entropy, &a->dentropy, PLUMB_CASE_STAT, "entropy", M);
    plumb_case_out(m, &a->mean_logit, &a->dmean, PLUMB_CASE_STAT, "mean_logit", M);
    plumb_case_out(m, &a->log_sum_sq, NULL, PLUMB_CASE_STAT, "log_sum_sq", M);
}

/* The upstream gradients lie ready. */
static int no_epilogue(void *ctx, int64_t first, int64_t count)
{
    (void)ctx, (void)first, (void)count;
    return PLUMB_OK;
}

/* Groups of 1, 2, 3, 1, ... pairs; of 64 pairs where timed. */
static void setup_fused(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_logprob *a = args;
    setup(c, m, args);
    int32_t *group = plumb_case_bytes(m, (size_t)(a->M + 1) * sizeof *group);
    while (group[a->groups] < a->M) {
        const int64_t next = group[a->groups] + (c->bench ? 64 : 1 + a->groups % 3);
        group[++a->groups] = (int32_t)(next < a->M ? next : a->M);
    }
    a->group = group;
    a->epilogue = no_epilogue;
}

/* Reads x and w once; backward reads them again and writes dx and adds to dw. */
static double bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    const double x = (double)(c->dim[0] * c->dim[1]), w = (double)(c->dim[2] * c->dim[1]);
    const double once = (double)elem * (x + w);
    return backward ? once + (double)elem * x + 8 * w : once;
}
static double bytes_fused(const struct plumb_case *c, size_t elem, bool backward)
{
    (void)backward;
    return bytes(c, elem, true);
}

static double flops(const struct plumb_case *c, bool backward)
{
    const double product = 2.0 * (double)c->dim[3] * (double)c->dim[1] * (double)c->dim[2];
    return backward ? 3 * product : product;
}
static double flops_fused(const struct plumb_case *c, bool backward)
{
    (void)backward;
    return flops(c, true);
}

static int fwd(const struct plumb_device *d, const void *a) { return plumb_logprob_fwd(d, a); }
static int bwd(const struct plumb_device *d, const void *a) { return plumb_logprob_bwd(d, a); }
static int fused(const struct plumb_device *d, const void *a) { return plumb_logprob_fused(d, a); }
static void fwd_ref(const void *a, enum plumb_dtype round) { plumb_logprob_fwd_ref(a, round); }
static void bwd_ref(const void *a, enum plumb_dtype round) { plumb_logprob_bwd_ref(a, round); }
static void fused_ref(const void *a, enum plumb_dtype round)
{
    plumb_logprob_fwd_ref(a, round);
    plumb_logprob_bwd_ref(a, round);
}
static size_t workspace(const struct plumb_device *d, const void *a)
{
    return plumb_logprob_workspace(d, a);
}

extern const struct plumb_op plumb_op_logprob[];
const struct plumb_op plumb_op_logprob[] = {
    { .name = "logprob",
      .cases = cases,
      .case_count = sizeof cases / sizeof *cases,
      .args_bytes = sizeof(struct plumb_logprob),
      .setup = setup,
      .fwd = fwd,
      .bwd = bwd,
      .fwd_ref = fwd_ref,
      .bwd_ref = bwd_ref,
      .workspace = workspace,
      .work_offset = offsetof(struct plumb_logprob, work),
      .bytes = bytes,
      .flops = flops,
      .products_of_threads = true },
    { .name = "logprob_fused",
      .cases = cases,
      .case_count = sizeof cases / sizeof *cases,
      .args_bytes = sizeof(struct plumb_logprob),
      .setup = setup_fused,
      .fwd = fused,
      .fwd_ref = fused_ref,
      .workspace = workspace,
      .work_offset = offsetof(struct plumb_logprob, work),
      .bytes = bytes_fused,
      .flops = flops_fused,
      .products_of_threads = true },
    { 0 },
};
