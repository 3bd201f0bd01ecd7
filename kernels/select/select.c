/* Checks the arguments of the selections and picks the code that runs. */
#include <plumb/backend.h>
#include <plumb/select.h>

#include <math.h>

#include "kernels/op.h"
#include "kernels/select/select_work.h"

PLUMB_CPU_DECLARE(plumb_select_cpu, plumb_select);
PLUMB_CPU_DECLARE(plumb_covariance_cpu, plumb_covariance);

static int check_tokens(const char *op, int64_t M)
{
    PLUMB_TRY(plumb_check_size(op, "M", M, 0));
    if (M > INT32_MAX)
        return plumb_fail(PLUMB_EINVAL, "%s: M=%lld, must be below 2^31", op, (long long)M);
    return PLUMB_OK;
}

static int check_share(const char *name, double value)
{
    if (value >= 0 && value <= 1) return PLUMB_OK;
    return plumb_fail(PLUMB_EINVAL, "select: %s=%g, must be in [0, 1]", name, value);
}

size_t plumb_select_workspace(const struct plumb_device *dev, const struct plumb_select *a)
{
    if (dev->kind == PLUMB_DEV_REF) return (size_t)(a->M > 0 ? a->M : 1) * sizeof(double);
    return dev->kind == PLUMB_DEV_CUDA ? sizeof(struct plumb_select_work) : 0;
}

int plumb_select(const struct plumb_device *dev, const struct plumb_select *a)
{
    const char *op = "select";
    PLUMB_TRY(plumb_check_args(op, dev, a, sizeof *a));
    PLUMB_TRY(check_tokens(op, a->M));
    PLUMB_TRY(a->top ? check_share("share", a->share) : check_share("quantile", a->quantile));
    PLUMB_TRY(plumb_check_tensor(op, dev, "key", &a->key, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "weight", &a->weight, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_tensor(op, dev, "out", &a->out, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "count", &a->count, PLUMB_MASK_F32));
    if (a->target) PLUMB_TRY(plumb_check_array(op, dev, "target", a->target));
    if (plumb_select_workspace(dev, a) > 0)
        PLUMB_TRY(plumb_check_array(op, dev, "work", a->work.data));
    if (dev->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_select_cpu, a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "select_tokens", a, sizeof *a);
    plumb_select_ref(a, dev->round);
    return PLUMB_OK;
}

size_t plumb_covariance_workspace(const struct plumb_device *dev, const struct plumb_covariance *a)
{
    return dev->kind == PLUMB_DEV_CUDA ? plumb_covariance_chunks(a->M) * 3 * sizeof(double) : 0;
}

static int check_random(const struct plumb_covariance *a)
{
    if (!(a->low <= a->high))
        return plumb_fail(PLUMB_EINVAL, "covariance: low=%g is not at most high=%g", a->low,
                          a->high);
    if (a->old_logp.data && !(a->ratio_low >= 0 && a->ratio_low <= a->ratio_high))
        return plumb_fail(PLUMB_EINVAL, "covariance: ratio_low=%g, ratio_high=%g are no clip",
                          a->ratio_low, a->ratio_high);
    return PLUMB_OK;
}

int plumb_covariance(const struct plumb_device *dev, const struct plumb_covariance *a)
{
    const char *op = "covariance";
    PLUMB_TRY(plumb_check_args(op, dev, a, sizeof *a));
    PLUMB_TRY(check_tokens(op, a->M));
    if (a->random) PLUMB_TRY(check_random(a));
    PLUMB_TRY(plumb_check_tensor(op, dev, "logp", &a->logp, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_tensor(op, dev, "advantage", &a->advantage, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "old_logp", &a->old_logp, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_tensor(op, dev, "key", &a->key, PLUMB_MASK_F32));
    if (a->target) PLUMB_TRY(plumb_check_array(op, dev, "target", a->target));
    if (plumb_covariance_workspace(dev, a) > 0)
        PLUMB_TRY(plumb_check_array(op, dev, "work", a->work.data));
    if (dev->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_covariance_cpu, a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, op, a, sizeof *a);
    plumb_covariance_ref(a, dev->round);
    return PLUMB_OK;
}
