/* Checks the arguments of the value loss and picks the code that runs. */
#include <plumb/backend.h>
#include <plumb/value.h>

#include <math.h>

#include "kernels/op.h"

PLUMB_CPU_DECLARE(plumb_value_loss_cpu, plumb_value_loss);

static int check_option(const char *name, double value)
{
    if (value >= 0 && isfinite(value)) return PLUMB_OK;
    return plumb_fail(PLUMB_EINVAL, "value_loss: %s=%g, must be at least 0 and finite", name,
                      value);
}

static int check(const struct plumb_device *dev, const struct plumb_value_loss *a)
{
    const char *op = "value_loss";
    PLUMB_TRY(plumb_check_args(op, dev, a, sizeof *a));
    if (a->aggregation != PLUMB_AGGREGATE_TOKENS && a->aggregation != PLUMB_AGGREGATE_ROW_MEANS)
        return plumb_fail(PLUMB_EINVAL,
                          "value_loss: aggregation=%d is neither TOKENS nor ROW_MEANS",
                          (int)a->aggregation);
    PLUMB_TRY(plumb_check_size(op, "B", a->B, 0));
    PLUMB_TRY(plumb_check_runs(op, dev, a->offset, a->B));
    if (a->target) PLUMB_TRY(plumb_check_array(op, dev, "target", a->target));
    PLUMB_TRY(check_option("cliprange", a->cliprange));
    PLUMB_TRY(check_option("divisor", a->divisor));
    PLUMB_TRY(plumb_check_tensor(op, dev, "value", &a->value, PLUMB_MASK_F32));
    if (a->cliprange > 0)
        PLUMB_TRY(plumb_check_tensor(op, dev, "old_value", &a->old_value, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_tensor(op, dev, "returns", &a->returns, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "weight", &a->weight, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_tensor(op, dev, "losses", &a->losses, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "clipped", &a->clipped, PLUMB_MASK_F32));
    return plumb_check_optional(op, dev, "dvalue", &a->dvalue, PLUMB_MASK_F32);
}

int plumb_value_loss(const struct plumb_device *dev, const struct plumb_value_loss *a)
{
    PLUMB_TRY(check(dev, a));
    if (dev->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_value_loss_cpu, a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "value_loss", a, sizeof *a);
    plumb_value_loss_ref(a, dev->round);
    return PLUMB_OK;
}
