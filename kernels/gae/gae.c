/* Checks the arguments of generalised advantage estimation and picks the code that runs. */
#include <plumb/backend.h>
#include <plumb/gae.h>

#include "kernels/op.h"

PLUMB_CPU_DECLARE(plumb_gae_cpu, plumb_gae);

static int check_factor(const char *field, double value)
{
    if (value >= 0 && value <= 1) return PLUMB_OK;
    return plumb_fail(PLUMB_EINVAL, "gae: %s=%g, must be in [0, 1]", field, value);
}

static int check_apart(const char *out, const struct plumb_tensor *a, const char *in,
                       const struct plumb_tensor *b)
{
    if (!a->data || a->data != b->data) return PLUMB_OK;
    return plumb_fail(PLUMB_EINVAL, "gae: %s and %s are the same memory", out, in);
}

static int check(const struct plumb_device *dev, const struct plumb_gae *a)
{
    const char *op = "gae";
    PLUMB_TRY(plumb_check_args(op, dev, a, sizeof *a));
    PLUMB_TRY(plumb_check_size(op, "R", a->R, 0));
    PLUMB_TRY(plumb_check_runs(op, dev, a->offset, a->R));
    if (a->counted) PLUMB_TRY(plumb_check_array(op, dev, "counted", a->counted));
    PLUMB_TRY(plumb_check_tensor(op, dev, "reward", &a->reward, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "value", &a->value, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "baseline", &a->baseline, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_tensor(op, dev, "advantage", &a->advantage, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "returns", &a->returns, PLUMB_MASK_F32));
    PLUMB_TRY(check_apart("advantage", &a->advantage, "reward", &a->reward));
    PLUMB_TRY(check_apart("advantage", &a->advantage, "value", &a->value));
    PLUMB_TRY(check_apart("returns", &a->returns, "reward", &a->reward));
    PLUMB_TRY(check_apart("returns", &a->returns, "value", &a->value));
    PLUMB_TRY(check_apart("returns", &a->returns, "advantage", &a->advantage));
    PLUMB_TRY(check_factor("gamma", a->gamma));
    return check_factor("lambda", a->lambda);
}

int plumb_gae(const struct plumb_device *dev, const struct plumb_gae *a)
{
    PLUMB_TRY(check(dev, a));
    if (dev->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_gae_cpu, a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "gae", a, sizeof *a);
    plumb_gae_ref(a, dev->round);
    return PLUMB_OK;
}
