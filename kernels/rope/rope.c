/* Checks the arguments of the rotary positions and picks the code that runs them. */
#include <plumb/backend.h>
#include <plumb/device.h>
#include <plumb/rope.h>

#include "kernels/op.h"

PLUMB_CPU_DECLARE(plumb_rope_cpu, plumb_rope);

static int check_positions(const struct plumb_device *dev, const struct plumb_rope *a)
{
    if (a->N > 0) PLUMB_TRY(plumb_check_array("rope", dev, "position", a->position));
    if (!plumb_device_is_host(dev)) return PLUMB_OK;
    for (int64_t n = 0; n < a->N; n++)
        if (a->position[n] < 0 || a->position[n] >= a->P)
            return plumb_fail(PLUMB_EINVAL, "rope: position[%lld]=%d, the tables have P=%lld rows",
                              (long long)n, (int)a->position[n], (long long)a->P);
    return PLUMB_OK;
}

static int check(const struct plumb_device *dev, const struct plumb_rope *a)
{
    PLUMB_TRY(plumb_check_args("rope", dev, a, sizeof *a));
    if (a->kind != PLUMB_ROPE_HALF && a->kind != PLUMB_ROPE_INTERLEAVED)
        return plumb_fail(PLUMB_EINVAL, "rope: kind=%d is neither half nor interleaved",
                          (int)a->kind);
    PLUMB_TRY(plumb_check_size("rope", "N", a->N, 0));
    PLUMB_TRY(plumb_check_size("rope", "H", a->H, 1));
    PLUMB_TRY(plumb_check_size("rope", "K", a->K, 1));
    PLUMB_TRY(plumb_check_size("rope", "R", a->R, 2));
    if (a->R % 2 || a->R > a->K)
        return plumb_fail(PLUMB_EINVAL, "rope: R=%lld, must be even and at most K=%lld",
                          (long long)a->R, (long long)a->K);
    if (a->ld) PLUMB_TRY(plumb_check_size("rope", "ld", a->ld, a->H * a->K));
    PLUMB_TRY(plumb_check_tensor("rope", dev, "cos", &a->cos, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_tensor("rope", dev, "sin", &a->sin, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_tensor("rope", dev, "x", &a->x, PLUMB_MASK_FLOATS));
    PLUMB_TRY(plumb_check_tensor("rope", dev, "y", &a->y, PLUMB_MASK(a->x.dtype)));
    return check_positions(dev, a);
}

int plumb_rope(const struct plumb_device *dev, const struct plumb_rope *a)
{
    PLUMB_TRY(check(dev, a));
    if (dev->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_rope_cpu, a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "rope", a, sizeof *a);
    plumb_rope_ref(a, dev->round);
    return PLUMB_OK;
}
