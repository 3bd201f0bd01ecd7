/* Checks the arguments of the optimizer's step and picks the code that runs it. */
#include <plumb/backend.h>
#include <plumb/optim.h>

#include <math.h>

#include "kernels/op.h"

PLUMB_CPU_DECLARE(plumb_adamw_cpu, plumb_adamw);

static int check_number(const char *name, double value, double lowest, double below)
{
    if (value >= lowest && value < below) return PLUMB_OK;
    return plumb_fail(PLUMB_EINVAL, "adamw: %s=%g, must be in [%g, %g)", name, value, lowest,
                      below);
}

static int check(const struct plumb_device *dev, const struct plumb_adamw *a)
{
    PLUMB_TRY(plumb_check_args("adamw", dev, a, sizeof *a));
    PLUMB_TRY(plumb_check_size("adamw", "count", a->count, 0));
    PLUMB_TRY(plumb_check_size("adamw", "step", a->step, 1));
    PLUMB_TRY(plumb_check_size("adamw", "first", a->first, 0));
    PLUMB_TRY(check_number("lr", a->lr, 0, INFINITY));
    PLUMB_TRY(check_number("beta1", a->beta1, 0, 1));
    PLUMB_TRY(check_number("beta2", a->beta2, 0, 1));
    PLUMB_TRY(check_number("eps", a->eps, 0, INFINITY));
    PLUMB_TRY(check_number("weight_decay", a->weight_decay, 0, INFINITY));
    if (!isfinite(a->grad_scale))
        return plumb_fail(PLUMB_EINVAL, "adamw: grad_scale=%g, must be finite", a->grad_scale);
    if (a->count == 0) return PLUMB_OK;
    PLUMB_TRY(plumb_check_tensor("adamw", dev, "grad", &a->grad, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_tensor("adamw", dev, "m", &a->m, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_tensor("adamw", dev, "v", &a->v, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_tensor("adamw", dev, "w", &a->w, PLUMB_MASK_FLOATS));
    if (a->copy.data && a->w.dtype == PLUMB_BF16)
        return plumb_fail(PLUMB_EINVAL, "adamw: copy repeats w, which is bfloat16 already");
    return plumb_check_optional("adamw", dev, "copy", &a->copy, PLUMB_MASK(PLUMB_BF16));
}

int plumb_adamw(const struct plumb_device *dev, const struct plumb_adamw *a)
{
    PLUMB_TRY(check(dev, a));
    if (a->count == 0) return PLUMB_OK;
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "adamw", a, sizeof *a);
    if (dev->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_adamw_cpu, a);
    plumb_adamw_ref(a, dev->round);
    return PLUMB_OK;
}
