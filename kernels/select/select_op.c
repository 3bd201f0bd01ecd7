/* Cases of the selections. dim: M tokens, 1 = by share, bits: 1 targets (a third are skipped), 2
 * weights, 4 keys of few values, 8 keys of -infinity, 16 drop. opt: quantile or share. Covariances:
 * dim: M tokens, 1 = random, bits: 1 targets, 2 the sampling policy's log-probs. opt: band. */
#include <math.h>
#include <plumb/select.h>
#include <stddef.h>

#include "kernels/op.h"

enum { TARGETS = 1, WEIGHTS = 2, FEW = 4, NEVER = 8, DROP = 16, OLD = 2 };

static const struct plumb_case cases[] = {
    { "quantile", { 100, 0, TARGETS | WEIGHTS }, { 0.8 } },
    { "quantile between equal keys", { 61, 0, FEW }, { 0.4 } },
    { "least and drop", { 50, 0, DROP }, { 0 } },
    { "largest", { 50, 0, 0 }, { 1 } },
    { "quantile of several blocks", { 5003, 0, TARGETS }, { 0.631 } },
    { "share", { 100, 1, TARGETS | WEIGHTS }, { 0.2 } },
    { "share of few values", { 3000, 1, FEW | TARGETS }, { 0.37 } },
    { "share of equal keys in several blocks", { 9000, 1, FEW }, { 0.5 } },
    { "at least one, dropped", { 40, 1, DROP }, { 0.0002 } },
    { "all", { 33, 1, 0 }, { 1 } },
    { "more than there are", { 33, 1, NEVER }, { 0.9 } },
    { "one token", { 1, 0, 0 }, { 0.3 } },
    { "no tokens", { 0, 1, 0 }, { 0.5 } },
    { "1M tokens", { 1 << 20, 0, 0 }, { 0.8 }, .bench = true },
};

static const struct plumb_case covariance_cases[] = {
    { "covariance", { 100, 0, TARGETS } },
    { "several chunks", { 20011, 0, 0 } },
    { "random", { 200, 1, TARGETS | OLD }, { 0.1, 0.5 } },
    { "random, no sampling policy", { 200, 1, 0 }, { -0.2, 0.3 } },
    { "no tokens", { 0, 0, 0 } },
    { "1M tokens", { 1 << 20, 0, 0 }, .bench = true },
};

static const int32_t *targets(const struct plumb_case *c, struct plumb_case_mem *m)
{
    int32_t *target = c->dim[2] & TARGETS ? plumb_case_index(m, c->dim[0]) : NULL;
    for (int64_t i = 0; target && i < c->dim[0]; i++)
        target[i] = (int32_t)plumb_case_below(m, 3) - 1;
    return target;
}

static void setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_select *a = args;
    *a = (struct plumb_select){ .struct_bytes = sizeof *a,
                                .M = c->dim[0],
                                .target = targets(c, m),
                                .top = c->dim[1] == 1,
                                .drop = (c->dim[2] & DROP) != 0,
                                .quantile = c->opt[0],
                                .share = c->opt[0] };
    double *key = plumb_case_bytes(m, (size_t)(a->M + 1) * sizeof *key);
    for (int64_t i = 0; i < a->M; i++) {
        const uint64_t x = plumb_case_below(m, c->dim[2] & FEW ? 3 : 1 << 22);
        key[i] = c->dim[2] & NEVER && i % 3 ? -INFINITY
                                            : ((double)x - 1) / (c->dim[2] & FEW ? 1 : 1 << 20);
    }
    plumb_case_in_values(m, &a->key, NULL, PLUMB_CASE_STAT, "key", a->M, key);
    if (c->dim[2] & WEIGHTS)
        plumb_case_in(m, &a->weight, NULL, PLUMB_CASE_STAT, "weight", a->M, -1, 2);
    plumb_case_out(m, &a->out, NULL, PLUMB_CASE_STAT, "out", a->M);
    plumb_case_out(m, &a->count, NULL, PLUMB_CASE_STAT, "count", 1);
}

static void covariance_setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_covariance *a = args;
    *a = (struct plumb_covariance){ .struct_bytes = sizeof *a,
                                    .M = c->dim[0],
                                    .target = targets(c, m),
                                    .random = c->dim[1] == 1,
                                    .low = c->opt[0],
                                    .high = c->opt[1],
                                    .ratio_low = 0.8,
                                    .ratio_high = 1.2,
                                    .seed = 17,
                                    .step = 5 };
    plumb_case_in(m, &a->logp, NULL, PLUMB_CASE_STAT, "logp", a->M, -2, 0);
    plumb_case_in(m, &a->advantage, NULL, PLUMB_CASE_STAT, "advantage", a->M, -1, 1);
    if (c->dim[2] & OLD)
        plumb_case_in(m, &a->old_logp, NULL, PLUMB_CASE_STAT, "old_logp", a->M, -2, 0);
    plumb_case_out(m, &a->key, NULL, PLUMB_CASE_STAT, "key", a->M);
}

/* Reads the keys, writes the results. */
static double bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    (void)elem;
    return backward ? 0 : 8.0 * (double)c->dim[0];
}

/* Reads log-probs and advantages, writes the keys. */
static double covariance_bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    (void)elem;
    return backward ? 0 : 12.0 * (double)c->dim[0];
}

static int fwd(const struct plumb_device *d, const void *a) { return plumb_select(d, a); }
static void fwd_ref(const void *a, enum plumb_dtype round) { plumb_select_ref(a, round); }
static size_t workspace(const struct plumb_device *d, const void *a)
{
    return plumb_select_workspace(d, a);
}
static int covariance_fwd(const struct plumb_device *d, const void *a)
{
    return plumb_covariance(d, a);
}
static void covariance_fwd_ref(const void *a, enum plumb_dtype round)
{
    plumb_covariance_ref(a, round);
}
static size_t covariance_workspace(const struct plumb_device *d, const void *a)
{
    return plumb_covariance_workspace(d, a);
}

extern const struct plumb_op plumb_op_select[];
const struct plumb_op plumb_op_select[] = {
    { .name = "select",
      .cases = cases,
      .case_count = sizeof cases / sizeof *cases,
      .args_bytes = sizeof(struct plumb_select),
      .setup = setup,
      .fwd = fwd,
      .fwd_ref = fwd_ref,
      .workspace = workspace,
      .work_offset = offsetof(struct plumb_select, work),
      .bytes = bytes,
      .f32_only = true },
    { .name = "covariance",
      .cases = covariance_cases,
      .case_count = sizeof covariance_cases / sizeof *covariance_cases,
      .args_bytes = sizeof(struct plumb_covariance),
      .setup = covariance_setup,
      .fwd = covariance_fwd,
      .fwd_ref = covariance_fwd_ref,
      .workspace = covariance_workspace,
      .work_offset = offsetof(struct plumb_covariance, work),
      .bytes = covariance_bytes,
      .f32_only = true },
    { 0 },
};
