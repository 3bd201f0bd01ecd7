/* Checks the arguments of the reward-model losses, knows their names and picks the code that
 * runs. */
#include <plumb/backend.h>
#include <plumb/reward.h>

#include <math.h>

#include "kernels/formula.h"
#include "kernels/op.h"

PLUMB_CPU_DECLARE(plumb_reward_cpu, plumb_reward);

static const struct plumb_formula formulas[] = {
#define PLUMB_FORMULA(ID, NAME, name, text) PLUMB_FORMULA_ROW(ID, name)
#include <plumb/reward.def>
#undef PLUMB_FORMULA
};
enum { FORMULAS = sizeof formulas / sizeof *formulas };

int plumb_reward_find(const char *name) { return plumb_formula_find(formulas, FORMULAS, name); }
const char *plumb_reward_name(int id) { return plumb_formula_name(formulas, FORMULAS, id); }

static int check(const struct plumb_device *dev, const struct plumb_reward *a)
{
    const char *op = "reward";
    PLUMB_TRY(plumb_check_struct(op, a->struct_bytes, sizeof *a));
    if (!plumb_reward_name((int)a->loss))
        return plumb_fail(PLUMB_EINVAL, "reward: loss=%d is no loss", (int)a->loss);
    PLUMB_TRY(plumb_check_size(op, "B", a->B, 0));
    PLUMB_TRY(plumb_check_tensor(op, dev, "score", &a->score, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "margin", &a->margin, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_tensor(op, dev, "losses", &a->losses, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "dscore", &a->dscore, PLUMB_MASK_F32));
    if (!(a->center_coefficient >= 0 && isfinite(a->center_coefficient)))
        return plumb_fail(PLUMB_EINVAL,
                          "reward: center_coefficient=%g, must be at least 0 and finite",
                          a->center_coefficient);
    return plumb_check_positive(op, "divisor", a->divisor);
}

int plumb_reward(const struct plumb_device *dev, const struct plumb_reward *a)
{
    PLUMB_TRY(check(dev, a));
    if (dev->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_reward_cpu, a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "reward", a, sizeof *a);
    plumb_reward_ref(a, dev->round);
    return PLUMB_OK;
}
