/* Checks the arguments of the reward-model losses, knows their names and picks the code that
 * runs. */
#include <plumb/backend.h>
#include <plumb/reward.h>

#include <float.h>
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

static int check_option(const char *name, double value, double least, double most)
{
    if (value >= least && value <= most && isfinite(value)) return PLUMB_OK;
    return plumb_fail(PLUMB_EINVAL, "reward: %s=%g, must be in [%g, %g] and finite", name, value,
                      least, most);
}

/* Read only by the formulas that name them, so that callers may leave the others zero. */
static int check_private(const struct plumb_reward *a)
{
    if (a->loss == PLUMB_REWARD_DAVIDSON && !(a->ties > 0 && isfinite(a->ties)))
        return plumb_fail(PLUMB_EINVAL, "reward: ties=%g, must be above 0 and finite", a->ties);
    if (a->loss == PLUMB_REWARD_RAO_KUPPER && !((float)a->ties > 1 && isfinite(a->ties)))
        return plumb_fail(PLUMB_EINVAL, "reward: ties=%g, must be above 1 and finite", a->ties);
    PLUMB_TRY(check_option("floor", a->floor, 0, 1));
    if (!((float)a->lapse >= 0 && (float)a->lapse < 1))
        return plumb_fail(PLUMB_EINVAL, "reward: lapse=%g, must be in [0, 1)", a->lapse);
    return check_option("bias", a->bias, -FLT_MAX, FLT_MAX);
}

/* The tensor that a formula cannot do without. */
static int check_formula(const struct plumb_device *dev, const struct plumb_reward *a)
{
    const bool target = a->loss == PLUMB_REWARD_BRADLEY_TERRY_SOFT ||
                        a->loss == PLUMB_REWARD_DAVIDSON || a->loss == PLUMB_REWARD_RAO_KUPPER;
    const struct {
        const char *name;
        const struct plumb_tensor *t;
        bool needed;
    } in[] = { { "target", &a->target, target },
               { "sign", &a->sign, a->loss == PLUMB_REWARD_COST_MODEL },
               { "anchor", &a->anchor, a->loss == PLUMB_REWARD_GAP },
               { "danchor", &a->danchor, a->loss == PLUMB_REWARD_GAP && a->dscore.data } };
    for (int i = 0; i < 4; i++) {
        PLUMB_TRY(plumb_check_optional("reward", dev, in[i].name, in[i].t, PLUMB_MASK_F32));
        if (in[i].needed && !in[i].t->data)
            return plumb_fail(PLUMB_EINVAL, "reward: %s is missing, which loss \"%s\" needs",
                              in[i].name, plumb_reward_name((int)a->loss));
    }
    return check_private(a);
}

static int check(const struct plumb_device *dev, const struct plumb_reward *a)
{
    const char *op = "reward";
    PLUMB_TRY(plumb_check_args(op, dev, a, sizeof *a));
    if (!plumb_reward_name((int)a->loss))
        return plumb_fail(PLUMB_EINVAL, "reward: loss=%d is no loss", (int)a->loss);
    PLUMB_TRY(plumb_check_size(op, "B", a->B, 0));
    PLUMB_TRY(plumb_check_tensor(op, dev, "score", &a->score, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "margin", &a->margin, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "weight", &a->weight, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_tensor(op, dev, "losses", &a->losses, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "dscore", &a->dscore, PLUMB_MASK_F32));
    PLUMB_TRY(check_formula(dev, a));
    PLUMB_TRY(check_option("center_coefficient", a->center_coefficient, 0, FLT_MAX));
    PLUMB_TRY(check_option("square_coefficient", a->square_coefficient, 0, FLT_MAX));
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
