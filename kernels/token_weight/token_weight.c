/* Checks the arguments of token weights and picks the code that runs. */
#include <math.h>
#include <plumb/backend.h>
#include <plumb/device.h>
#include <plumb/token_weight.h>

#include "kernels/op.h"

PLUMB_CPU_DECLARE(plumb_token_weight_cpu, plumb_token_weight);
PLUMB_CPU_DECLARE(plumb_wpo_cpu, plumb_wpo);

/* Every side's turns are 0, or more, and never fall. */
static int check_turns(const struct plumb_device *dev, const struct plumb_token_weight *a)
{
    if (a->B == 0) return PLUMB_OK;
    PLUMB_TRY(plumb_check_array("token_weight", dev, "turn", a->turn));
    if (!plumb_device_is_host(dev)) return PLUMB_OK;
    for (int64_t s = 0; s < 2 * a->B; s++)
        for (int32_t t = a->offset[s], last = 0; t < a->offset[s + 1]; last = a->turn[t], t++)
            if (a->turn[t] < last)
                return plumb_fail(PLUMB_EINVAL, "token_weight: turn[%d]=%d, must be at least %d", t,
                                  a->turn[t], last);
    return PLUMB_OK;
}

static int check(const struct plumb_device *dev, const struct plumb_token_weight *a)
{
    const char *op = "token_weight";
    PLUMB_TRY(plumb_check_args(op, dev, a, sizeof *a));
    PLUMB_TRY(plumb_check_size(op, "B", a->B, 0));
    PLUMB_TRY(plumb_check_runs(op, dev, a->offset, 2 * a->B));
    PLUMB_TRY(plumb_check_tensor(op, dev, "weight", &a->weight, PLUMB_MASK_F32));
    if ((int)a->kind < 0 || a->kind >= PLUMB_WEIGHT_KINDS)
        return plumb_fail(PLUMB_EINVAL, "%s: kind=%d is none", op, (int)a->kind);
    if (a->kind == PLUMB_WEIGHT_TAIL && !isfinite(a->ld_alpha))
        return plumb_fail(PLUMB_EINVAL, "%s: ld_alpha=%g", op, a->ld_alpha);
    if (a->kind != PLUMB_WEIGHT_TURNS) return PLUMB_OK;
    if (!(a->gamma > 0 && a->gamma <= 1))
        return plumb_fail(PLUMB_EINVAL, "%s: gamma=%g, must be in (0, 1]", op, a->gamma);
    return check_turns(dev, a);
}

int plumb_token_weight(const struct plumb_device *dev, const struct plumb_token_weight *a)
{
    PLUMB_TRY(check(dev, a));
    if (dev->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_token_weight_cpu, a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "token_weight", a, sizeof *a);
    plumb_token_weight_ref(a, dev->round);
    return PLUMB_OK;
}

int plumb_wpo(const struct plumb_device *dev, const struct plumb_wpo *a)
{
    PLUMB_TRY(plumb_check_args("wpo", dev, a, sizeof *a));
    PLUMB_TRY(plumb_check_size("wpo", "B", a->B, 0));
    PLUMB_TRY(plumb_check_runs("wpo", dev, a->offset, 2 * a->B));
    PLUMB_TRY(plumb_check_tensor("wpo", dev, "logp", &a->logp, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_tensor("wpo", dev, "log_sum_sq", &a->log_sum_sq, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_tensor("wpo", dev, "weight", &a->weight, PLUMB_MASK_F32));
    if (dev->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_wpo_cpu, a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "wpo", a, sizeof *a);
    plumb_wpo_ref(a, dev->round);
    return PLUMB_OK;
}
