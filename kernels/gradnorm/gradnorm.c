/* Checks the arguments of the gradient norm and picks the code that runs it. */
#include <plumb/backend.h>
#include <plumb/optim.h>

#include "kernels/gradnorm/gradnorm.h"
#include "kernels/op.h"

PLUMB_CPU_DECLARE(plumb_gradnorm_cpu, plumb_gradnorm);

size_t plumb_gradnorm_workspace(const struct plumb_device *dev, const struct plumb_gradnorm *a)
{
    if (plumb_check_args("gradnorm", dev, a, sizeof *a) || dev->kind == PLUMB_DEV_REF) return 0;
    return (size_t)plumb_gradnorm_blocks(a->count) * sizeof(double);
}

int plumb_gradnorm(const struct plumb_device *dev, const struct plumb_gradnorm *a)
{
    PLUMB_TRY(plumb_check_args("gradnorm", dev, a, sizeof *a));
    PLUMB_TRY(plumb_check_size("gradnorm", "count", a->count, 0));
    PLUMB_TRY(plumb_check_array("gradnorm", dev, "norm", a->norm));
    if (a->count > 0) PLUMB_TRY(plumb_check_tensor("gradnorm", dev, "x", &a->x, PLUMB_MASK_F32));
    if (a->count > 0 && dev->kind != PLUMB_DEV_REF && !a->work.data)
        return plumb_fail(PLUMB_EINVAL, "gradnorm: work is missing");
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "gradnorm", a, sizeof *a);
    if (dev->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_gradnorm_cpu, a);
    plumb_gradnorm_ref(a, dev->round);
    return PLUMB_OK;
}

double plumb_clip_factor(double norm, double max_norm)
{
    return plumb_gradnorm_clip(norm, max_norm);
}
