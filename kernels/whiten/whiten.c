/* Checks the arguments of moments and whitening and picks the code that runs. */
#include <plumb/backend.h>
#include <plumb/device.h>
#include <plumb/whiten.h>

#include <math.h>

#include "kernels/op.h"
#include "kernels/whiten/moments.h"

PLUMB_CPU_DECLARE(plumb_moments_cpu, plumb_moments);
PLUMB_CPU_DECLARE(plumb_whiten_cpu, plumb_whiten);

size_t plumb_moments_workspace(const struct plumb_device *dev, const struct plumb_moments *a)
{
    if (dev->kind == PLUMB_DEV_REF || a->M <= 0) return 0;
    const int64_t chunks = (a->M + PLUMB_MOMENTS_CHUNK - 1) / PLUMB_MOMENTS_CHUNK;
    return (size_t)chunks * sizeof(struct plumb_moment_set);
}

int plumb_moments(const struct plumb_device *dev, const struct plumb_moments *a)
{
    const char *op = "moments";
    PLUMB_TRY(plumb_check_args(op, dev, a, sizeof *a));
    PLUMB_TRY(plumb_check_size(op, "M", a->M, 0));
    PLUMB_TRY(plumb_check_tensor(op, dev, "x", &a->x, PLUMB_MASK_F32));
    if (a->counted) PLUMB_TRY(plumb_check_array(op, dev, "counted", a->counted));
    PLUMB_TRY(plumb_check_array(op, dev, "moments", a->moments));
    if (dev->kind == PLUMB_DEV_REF) {
        plumb_moments_ref(a, dev->round);
        return PLUMB_OK;
    }
    if (a->M > 0) PLUMB_TRY(plumb_check_array(op, dev, "work", a->work.data));
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "moments", a, sizeof *a);
    return PLUMB_CPU_CALL(plumb_moments_cpu, a);
}

int plumb_moments_merge(const struct plumb_device *dev, const struct plumb_moments_merge *a)
{
    const char *op = "moments_merge";
    PLUMB_TRY(plumb_check_args(op, dev, a, sizeof *a));
    PLUMB_TRY(plumb_check_size(op, "K", a->K, 0));
    if (a->K > 0) PLUMB_TRY(plumb_check_array(op, dev, "parts", a->parts));
    PLUMB_TRY(plumb_check_array(op, dev, "moments", a->moments));
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, op, a, sizeof *a);
    plumb_moments_merge_ref(a, dev->kind == PLUMB_DEV_REF ? dev->round : PLUMB_F64);
    return PLUMB_OK;
}

static int check_least(const char *field, double value)
{
    if (value >= 0 && isfinite(value)) return PLUMB_OK;
    return plumb_fail(PLUMB_EINVAL, "whiten: %s=%g, must be at least 0 and finite", field, value);
}

int plumb_whiten(const struct plumb_device *dev, const struct plumb_whiten *a)
{
    const char *op = "whiten";
    PLUMB_TRY(plumb_check_args(op, dev, a, sizeof *a));
    PLUMB_TRY(plumb_check_size(op, "M", a->M, 0));
    PLUMB_TRY(plumb_check_tensor(op, dev, "x", &a->x, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_tensor(op, dev, "y", &a->y, PLUMB_MASK_F32));
    if (a->counted) PLUMB_TRY(plumb_check_array(op, dev, "counted", a->counted));
    PLUMB_TRY(plumb_check_array(op, dev, "moments", a->moments));
    PLUMB_TRY(check_least("root_epsilon", a->root_epsilon));
    PLUMB_TRY(check_least("epsilon", a->epsilon));
    PLUMB_TRY(check_least("least_variance", a->least_variance));
    PLUMB_TRY(check_least("limit", a->limit));
    if (dev->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_whiten_cpu, a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, op, a, sizeof *a);
    plumb_whiten_ref(a, dev->round);
    return PLUMB_OK;
}
