/* Checks the arguments of the reductions and picks the code that runs them. */
#include <plumb/backend.h>
#include <plumb/device.h>
#include <plumb/reduce.h>

#include "kernels/op.h"
#include "kernels/reduce/reduce.h"

PLUMB_CPU_DECLARE(plumb_segsum_fwd_cpu, plumb_segsum);
PLUMB_CPU_DECLARE(plumb_segsum_bwd_cpu, plumb_segsum);
PLUMB_CPU_DECLARE(plumb_colsum_cpu, plumb_colsum);

static int check_offsets(const struct plumb_device *dev, const struct plumb_segsum *a)
{
    PLUMB_TRY(plumb_check_array("segsum", dev, "offset", a->offset));
    if (!plumb_device_is_host(dev)) return PLUMB_OK;
    if (a->offset[0] < 0)
        return plumb_fail(PLUMB_EINVAL, "segsum: offset[0]=%d is negative", a->offset[0]);
    for (int64_t r = 0; r < a->R; r++)
        if (a->offset[r + 1] < a->offset[r])
            return plumb_fail(PLUMB_EINVAL, "segsum: offset[%lld]=%d is below offset[%lld]=%d",
                              (long long)r + 1, a->offset[r + 1], (long long)r, a->offset[r]);
    if (a->offset[a->R] > a->M)
        return plumb_fail(PLUMB_EINVAL, "segsum: offset[%lld]=%d is past M=%lld", (long long)a->R,
                          a->offset[a->R], (long long)a->M);
    return PLUMB_OK;
}

static int check_segsum(const struct plumb_device *dev, const struct plumb_segsum *a, bool backward)
{
    PLUMB_TRY(plumb_check_args("segsum", dev, a, sizeof *a));
    PLUMB_TRY(plumb_check_size("segsum", "M", a->M, 0));
    PLUMB_TRY(plumb_check_size("segsum", "R", a->R, 0));
    PLUMB_TRY(check_offsets(dev, a));
    if (!(a->discount >= 0 && a->discount <= 1))
        return plumb_fail(PLUMB_EINVAL, "segsum: discount=%g, must be in [0, 1]", a->discount);
    if (!isfinite(a->scale)) return plumb_fail(PLUMB_EINVAL, "segsum: scale=%g", a->scale);
    const struct plumb_tensor *longer = backward ? &a->dx : &a->x,
                              *shorter = backward ? &a->dy : &a->y;
    if (a->M > 0)
        PLUMB_TRY(plumb_check_tensor("segsum", dev, backward ? "dx" : "x", longer, PLUMB_MASK_F32));
    if (a->R > 0)
        PLUMB_TRY(
            plumb_check_tensor("segsum", dev, backward ? "dy" : "y", shorter, PLUMB_MASK_F32));
    return plumb_check_optional("segsum", dev, "weight", &a->weight, PLUMB_MASK_F32);
}

int plumb_segsum_fwd(const struct plumb_device *dev, const struct plumb_segsum *a)
{
    PLUMB_TRY(check_segsum(dev, a, false));
    if (dev->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_segsum_fwd_cpu, a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "segsum_fwd", a, sizeof *a);
    plumb_segsum_fwd_ref(a, dev->round);
    return PLUMB_OK;
}

int plumb_segsum_bwd(const struct plumb_device *dev, const struct plumb_segsum *a)
{
    PLUMB_TRY(check_segsum(dev, a, true));
    if (dev->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_segsum_bwd_cpu, a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "segsum_bwd", a, sizeof *a);
    plumb_segsum_bwd_ref(a, dev->round);
    return PLUMB_OK;
}

size_t plumb_colsum_workspace(const struct plumb_device *dev, const struct plumb_colsum *a)
{
    if (plumb_check_args("colsum", dev, a, sizeof *a) || dev->kind == PLUMB_DEV_REF) return 0;
    return (size_t)(plumb_colsum_blocks(a->N) * a->D) * sizeof(float);
}

int plumb_colsum(const struct plumb_device *dev, const struct plumb_colsum *a)
{
    PLUMB_TRY(plumb_check_args("colsum", dev, a, sizeof *a));
    PLUMB_TRY(plumb_check_size("colsum", "N", a->N, 0));
    PLUMB_TRY(plumb_check_size("colsum", "D", a->D, 0));
    if (a->ldx) PLUMB_TRY(plumb_check_size("colsum", "ldx", a->ldx, a->D));
    if (a->N == 0 || a->D == 0) return PLUMB_OK;
    PLUMB_TRY(plumb_check_tensor("colsum", dev, "x", &a->x, PLUMB_MASK_FLOATS));
    PLUMB_TRY(plumb_check_tensor("colsum", dev, "y", &a->y, PLUMB_MASK_F32));
    if (dev->kind == PLUMB_DEV_REF) {
        plumb_colsum_ref(a, dev->round);
        return PLUMB_OK;
    }
    PLUMB_TRY(plumb_check_array("colsum", dev, "work", a->work.data));
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "colsum", a, sizeof *a);
    return PLUMB_CPU_CALL(plumb_colsum_cpu, a);
}
