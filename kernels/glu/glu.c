/* Checks the arguments of the MLP's activation and picks the code that runs it. */
#include <plumb/backend.h>
#include <plumb/glu.h>

#include "kernels/op.h"

PLUMB_CPU_DECLARE(plumb_glu_fwd_cpu, plumb_glu);
PLUMB_CPU_DECLARE(plumb_glu_bwd_cpu, plumb_glu);

bool plumb_act_is_gated(enum plumb_act_kind kind)
{
    return kind == PLUMB_ACT_SWIGLU || kind == PLUMB_ACT_GEGLU_TANH || kind == PLUMB_ACT_GEGLU_ERF;
}

static int check(const struct plumb_device *dev, const struct plumb_glu *a, bool backward)
{
    PLUMB_TRY(plumb_check_args("glu", dev, a, sizeof *a));
    PLUMB_TRY(plumb_check_size("glu", "N", a->N, 0));
    PLUMB_TRY(plumb_check_size("glu", "F", a->F, 1));
    PLUMB_TRY(plumb_check_tensor("glu", dev, "x", &a->x, PLUMB_MASK_FLOATS));
    const unsigned same = PLUMB_MASK(a->x.dtype);
    if (!backward) return plumb_check_tensor("glu", dev, "y", &a->y, same);
    PLUMB_TRY(plumb_check_tensor("glu", dev, "dy", &a->dy, same));
    return plumb_check_tensor("glu", dev, "dx", &a->dx, same);
}

int plumb_glu_fwd(const struct plumb_device *dev, const struct plumb_glu *a)
{
    PLUMB_TRY(check(dev, a, false));
    if (dev->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_glu_fwd_cpu, a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "glu_fwd", a, sizeof *a);
    plumb_glu_fwd_ref(a, dev->round);
    return PLUMB_OK;
}

int plumb_glu_bwd(const struct plumb_device *dev, const struct plumb_glu *a)
{
    PLUMB_TRY(check(dev, a, true));
    if (dev->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_glu_bwd_cpu, a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "glu_bwd", a, sizeof *a);
    plumb_glu_bwd_ref(a, dev->round);
    return PLUMB_OK;
}
