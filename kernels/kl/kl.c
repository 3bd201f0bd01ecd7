/* Checks the arguments of the divergence's estimators, knows their names and picks the code that
 * runs. */
#include <plumb/backend.h>
#include <plumb/kl.h>

#include <math.h>

#include "kernels/formula.h"
#include "kernels/op.h"

PLUMB_CPU_DECLARE(plumb_kl_cpu, plumb_kl);

static const struct plumb_formula formulas[] = {
#define PLUMB_FORMULA(ID, NAME, name, text) PLUMB_FORMULA_ROW(ID, name)
#include <plumb/kl.def>
#undef PLUMB_FORMULA
};
enum { FORMULAS = sizeof formulas / sizeof *formulas };

int plumb_kl_find(const char *name) { return plumb_formula_find(formulas, FORMULAS, name); }
const char *plumb_kl_name(int id) { return plumb_formula_name(formulas, FORMULAS, id); }

static int check(const struct plumb_device *dev, const struct plumb_kl *a)
{
    const char *op = "kl";
    PLUMB_TRY(plumb_check_args(op, dev, a, sizeof *a));
    if (!plumb_kl_name((int)a->estimator))
        return plumb_fail(PLUMB_EINVAL, "kl: estimator=%d is no estimator", (int)a->estimator);
    PLUMB_TRY(plumb_check_size(op, "M", a->M, 0));
    PLUMB_TRY(plumb_check_tensor(op, dev, "logp", &a->logp, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_tensor(op, dev, "ref_logp", &a->ref_logp, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "old_logp", &a->old_logp, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "weight", &a->weight, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_tensor(op, dev, "kl", &a->kl, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "dlogp", &a->dlogp, PLUMB_MASK_F32));
    if (!(a->clamp >= 0 && isfinite(a->clamp)))
        return plumb_fail(PLUMB_EINVAL, "kl: clamp=%g, must be at least 0 and finite", a->clamp);
    return plumb_check_positive(op, "divisor", a->divisor);
}

int plumb_kl(const struct plumb_device *dev, const struct plumb_kl *a)
{
    PLUMB_TRY(check(dev, a));
    if (dev->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_kl_cpu, a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "kl", a, sizeof *a);
    plumb_kl_ref(a, dev->round);
    return PLUMB_OK;
}
