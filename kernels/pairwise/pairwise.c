/* Checks the arguments of the pairwise losses, knows their names and picks the code that runs. */
#define PLUMB_REAL_F64
#include "kernels/pairwise/pairwise_eval.h"

#include <plumb/backend.h>
#include <plumb/pairwise.h>

#include "kernels/formula.h"
#include "kernels/op.h"

PLUMB_CPU_DECLARE(plumb_pairwise_cpu, plumb_pairwise);

static const struct plumb_formula formulas[] = {
#define PLUMB_FORMULA(ID, NAME, name, text) PLUMB_FORMULA_ROW(ID, name)
#include <plumb/pairwise.def>
#undef PLUMB_FORMULA
};
enum { FORMULAS = sizeof formulas / sizeof *formulas };

int plumb_pairwise_find(const char *name) { return plumb_formula_find(formulas, FORMULAS, name); }
const char *plumb_pairwise_name(int id) { return plumb_formula_name(formulas, FORMULAS, id); }

/* A formula that has no finite value even at equal policies is undefined for these options. */
static int check_term(const struct plumb_device *dev, const struct plumb_pairwise *a, int64_t k)
{
    const char *name = plumb_pairwise_name((int)a->terms[k].loss);
    if (!name)
        return plumb_fail(PLUMB_EINVAL, "pairwise: terms[%lld].loss=%d is no loss", (long long)k,
                          (int)a->terms[k].loss);
    if (!isfinite(a->terms[k].weight))
        return plumb_fail(PLUMB_EINVAL, "pairwise: weight of loss \"%s\" is %g", name,
                          a->terms[k].weight);
    const bool f32 = dev->kind != PLUMB_DEV_REF;
    const struct plumb_pair p = {
        .nw = 1,
        .nl = 1,
        .beta = f32 ? (double)(float)a->beta : a->beta,
        .label_smoothing = f32 ? (double)(float)a->label_smoothing : a->label_smoothing,
    };
    struct plumb_pair_grad g = { 0 };
    if (isfinite(plumb_pair_eval((int)a->terms[k].loss, &p, &g)) && isfinite(g.dw) &&
        isfinite(g.dl))
        return PLUMB_OK;
    return plumb_fail(PLUMB_EINVAL,
                      "pairwise: loss \"%s\" is undefined for beta=%g, label_smoothing=%g", name,
                      a->beta, a->label_smoothing);
}

static int check_tensors(const struct plumb_device *dev, const struct plumb_pairwise *a)
{
    const char *op = "pairwise";
    PLUMB_TRY(plumb_check_tensor(op, dev, "logp", &a->logp, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "ref_logp", &a->ref_logp, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "ref_sum", &a->ref_sum, PLUMB_MASK_F32));
    if (a->ref_logp.data && a->ref_sum.data)
        return plumb_fail(PLUMB_EINVAL, "pairwise: ref_logp and ref_sum are both given");
    PLUMB_TRY(plumb_check_tensor(op, dev, "losses", &a->losses, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_tensor(op, dev, "logps", &a->logps, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_tensor(op, dev, "rewards", &a->rewards, PLUMB_MASK_F32));
    return plumb_check_optional(op, dev, "dlogp", &a->dlogp, PLUMB_MASK_F32);
}

static int check(const struct plumb_device *dev, const struct plumb_pairwise *a)
{
    PLUMB_TRY(plumb_check_struct("pairwise", a->struct_bytes, sizeof *a));
    PLUMB_TRY(plumb_check_size("pairwise", "B", a->B, 0));
    PLUMB_TRY(plumb_check_runs("pairwise", dev, a->offset, 2 * a->B));
    PLUMB_TRY(check_tensors(dev, a));
    PLUMB_TRY(plumb_check_positive("pairwise", "beta", a->beta));
    PLUMB_TRY(plumb_check_positive("pairwise", "divisor", a->divisor));
    if (!(a->label_smoothing >= 0 && a->label_smoothing <= 0.5))
        return plumb_fail(PLUMB_EINVAL, "pairwise: label_smoothing=%g, must be in [0, 0.5]",
                          a->label_smoothing);
    if (!a->terms) return plumb_fail(PLUMB_EINVAL, "pairwise: terms is missing");
    if (a->term_count < 1 || a->term_count > 8)
        return plumb_fail(PLUMB_EINVAL, "pairwise: term_count=%lld, must be in [1, 8]",
                          (long long)a->term_count);
    for (int64_t k = 0; k < a->term_count; k++)
        PLUMB_TRY(check_term(dev, a, k));
    return PLUMB_OK;
}

int plumb_pairwise(const struct plumb_device *dev, const struct plumb_pairwise *a)
{
    PLUMB_TRY(check(dev, a));
    if (dev->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_pairwise_cpu, a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "pairwise", a, sizeof *a);
    plumb_pairwise_ref(a, dev->round);
    return PLUMB_OK;
}
