/* Checks the arguments of the pointwise losses, knows their names and picks the code that runs. */
#include <plumb/backend.h>
#include <plumb/pointwise.h>

#include "kernels/formula.h"
#include "kernels/op.h"

PLUMB_CPU_DECLARE(plumb_pointwise_cpu, plumb_pointwise);

static const struct plumb_formula formulas[] = {
#define PLUMB_FORMULA(ID, NAME, name, text) PLUMB_FORMULA_ROW(ID, name)
#include <plumb/pointwise.def>
#undef PLUMB_FORMULA
};
enum { FORMULAS = sizeof formulas / sizeof *formulas };

int plumb_pointwise_find(const char *name) { return plumb_formula_find(formulas, FORMULAS, name); }
const char *plumb_pointwise_name(int id) { return plumb_formula_name(formulas, FORMULAS, id); }

static int check(const struct plumb_device *dev, const struct plumb_pointwise *a)
{
    const char *op = "pointwise";
    PLUMB_TRY(plumb_check_args(op, dev, a, sizeof *a));
    if (!plumb_pointwise_name((int)a->loss))
        return plumb_fail(PLUMB_EINVAL, "pointwise: loss=%d is no loss", (int)a->loss);
    PLUMB_TRY(plumb_check_size(op, "N", a->N, 0));
    PLUMB_TRY(plumb_check_tensor(op, dev, "score", &a->score, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_tensor(op, dev, "target", &a->target, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "weight", &a->weight, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_tensor(op, dev, "losses", &a->losses, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "dscore", &a->dscore, PLUMB_MASK_F32));
    if (a->loss == PLUMB_POINTWISE_BCE)
        PLUMB_TRY(plumb_check_positive(op, "pos_weight", a->pos_weight));
    return plumb_check_positive(op, "divisor", a->divisor);
}

int plumb_pointwise(const struct plumb_device *dev, const struct plumb_pointwise *a)
{
    PLUMB_TRY(check(dev, a));
    if (dev->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_pointwise_cpu, a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "pointwise", a, sizeof *a);
    plumb_pointwise_ref(a, dev->round);
    return PLUMB_OK;
}
