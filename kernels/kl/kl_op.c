/* Cases of the divergence's estimators. dim: M tokens, id of the formula, 1 = with the sampling
 * policy's log-probs, 1 = with weights. opt: clamp, reach of the log-probs. */
#include <plumb/kl.h>

#include "kernels/op.h"

static const struct plumb_case cases[] = {
#define PLUMB_FORMULA(ID, NAME, name, text) { #name, { 37, ID, 1, 1 }, { 0, 4 } },
#include <plumb/kl.def>
#undef PLUMB_FORMULA
    { "k1 clamped", { 30, PLUMB_KL_K1 }, { 1.5, 4 } },
    { "k2 clamped", { 30, PLUMB_KL_K2, 0, 1 }, { 2, 4 } },
    { "k3 clamped", { 30, PLUMB_KL_K3, 1, 1 }, { 2, 4 } },
    { "weighted k3 clamped", { 30, PLUMB_KL_K3_IMPORTANCE_WEIGHTED, 1, 1 }, { 2, 4 } },
    { "small log-ratios", { 50, PLUMB_KL_K3 }, { 0, 1e-3 } },
    { "log-ratios up to 80", { 50, PLUMB_KL_K3 }, { 0, 80 } },
    { "weighted, no sampling policy", { 20, PLUMB_KL_K3_IMPORTANCE_WEIGHTED }, { 0, 4 } },
    { "several blocks, one token over", { 1025, PLUMB_KL_K3, 0, 1 }, { 0, 4 } },
    { "no tokens", { 0, PLUMB_KL_K3, 1, 1 }, { 0, 4 } },
    { "1M tokens", { 1 << 20, PLUMB_KL_K3_IMPORTANCE_WEIGHTED, 1 }, { 0, 4 }, .bench = true },
};

/* Whether the gradient is not the derivative of the value, so that finite differences do not apply:
 * straight-through forms, and a ratio that is 1 whatever the log-prob. */
static bool stops_gradient(const struct plumb_case *c)
{
    const int64_t e = c->dim[1];
    return e == PLUMB_KL_K1_STRAIGHT_THROUGH || e == PLUMB_KL_K3_STRAIGHT_THROUGH ||
           (e == PLUMB_KL_K3_IMPORTANCE_WEIGHTED && !c->dim[2]);
}

static void setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_kl *a = args;
    *a = (struct plumb_kl){ .struct_bytes = sizeof *a,
                            .estimator = (enum plumb_kl_estimator)c->dim[1],
                            .M = c->dim[0],
                            .clamp = c->opt[0],
                            .divisor = 3.5 };
    const double least = -c->opt[1];
    if (stops_gradient(c)) {
        plumb_case_in(m, &a->logp, NULL, PLUMB_CASE_STAT, "logp", a->M, least, 0);
        plumb_case_out(m, &a->dlogp, NULL, PLUMB_CASE_STAT, "dlogp", a->M);
    } else {
        plumb_case_in(m, &a->logp, &a->dlogp, PLUMB_CASE_STAT, "logp", a->M, least, 0);
    }
    plumb_case_in(m, &a->ref_logp, NULL, PLUMB_CASE_STAT, "ref_logp", a->M, least, 0);
    if (c->dim[2]) plumb_case_in(m, &a->old_logp, NULL, PLUMB_CASE_STAT, "old_logp", a->M, -4, 0);
    if (c->dim[3]) plumb_case_in(m, &a->weight, NULL, PLUMB_CASE_STAT, "weight", a->M, -1, 2);
    plumb_case_out(m, &a->kl, NULL, PLUMB_CASE_STAT, "kl", a->M);
    plumb_case_objective(m, &a->kl, 1 / a->divisor);
}

/* Reads logp, ref_logp, old_logp and weight, writes an estimate and a gradient. */
static double bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    (void)elem;
    return backward ? 0 : (double)c->dim[0] * (double)(16 + 4 * c->dim[2] + 4 * c->dim[3]);
}

static int fwd(const struct plumb_device *d, const void *a) { return plumb_kl(d, a); }
static void fwd_ref(const void *a, enum plumb_dtype round) { plumb_kl_ref(a, round); }

extern const struct plumb_op plumb_op_kl[];
const struct plumb_op plumb_op_kl[] = {
    { .name = "kl",
      .cases = cases,
      .case_count = sizeof cases / sizeof *cases,
      .args_bytes = sizeof(struct plumb_kl),
      .setup = setup,
      .fwd = fwd,
      .fwd_ref = fwd_ref,
      .bytes = bytes,
      .f32_only = true },
    { 0 },
};
