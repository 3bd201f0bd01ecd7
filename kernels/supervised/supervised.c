/* Checks the arguments of the likelihood losses, knows their names and picks the code that runs. */
#include <plumb/backend.h>
#include <plumb/supervised.h>

#include "kernels/formula.h"
#include "kernels/op.h"

PLUMB_CPU_DECLARE(plumb_supervised_cpu, plumb_supervised);

static const struct plumb_formula formulas[] = {
#define PLUMB_FORMULA(ID, NAME, name, text) PLUMB_FORMULA_ROW(ID, name)
#include <plumb/supervised.def>
#undef PLUMB_FORMULA
};
enum { FORMULAS = sizeof formulas / sizeof *formulas };

int plumb_supervised_find(const char *name) { return plumb_formula_find(formulas, FORMULAS, name); }
const char *plumb_supervised_name(int id) { return plumb_formula_name(formulas, FORMULAS, id); }

static int check(const struct plumb_device *dev, const struct plumb_supervised *a)
{
    const char *op = "supervised";
    PLUMB_TRY(plumb_check_args(op, dev, a, sizeof *a));
    if (!plumb_supervised_name((int)a->loss))
        return plumb_fail(PLUMB_EINVAL, "supervised: loss=%d is no loss", (int)a->loss);
    PLUMB_TRY(plumb_check_size(op, "M", a->M, 0));
    PLUMB_TRY(plumb_check_tensor(op, dev, "logp", &a->logp, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "weight", &a->weight, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_tensor(op, dev, "losses", &a->losses, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "dlogp", &a->dlogp, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "reward", &a->reward, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "value", &a->value, PLUMB_MASK_F32));
    if (a->loss == PLUMB_SUPERVISED_AWR) {
        PLUMB_TRY(plumb_check_tensor(op, dev, "reward", &a->reward, PLUMB_MASK_F32));
        PLUMB_TRY(plumb_check_positive(op, "beta", a->beta));
        PLUMB_TRY(plumb_check_positive(op, "max_weight", a->max_weight));
    }
    return plumb_check_positive(op, "divisor", a->divisor);
}

int plumb_supervised(const struct plumb_device *dev, const struct plumb_supervised *a)
{
    PLUMB_TRY(check(dev, a));
    if (dev->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_supervised_cpu, a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "supervised", a, sizeof *a);
    plumb_supervised_ref(a, dev->round);
    return PLUMB_OK;
}
