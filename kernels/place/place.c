/* Checks the arguments of the placing of rows and picks the code that does it. */
#include <plumb/backend.h>
#include <plumb/place.h>

#include "kernels/op.h"

PLUMB_CPU_DECLARE(plumb_place_cpu, plumb_place);

static int check(const struct plumb_device *dev, const struct plumb_place *a)
{
    PLUMB_TRY(plumb_check_args("place", dev, a, sizeof *a));
    PLUMB_TRY(plumb_check_size("place", "N", a->N, 0));
    PLUMB_TRY(plumb_check_size("place", "D", a->D, 1));
    PLUMB_TRY(plumb_check_size("place", "R", a->R, 0));
    if (a->ldx) PLUMB_TRY(plumb_check_size("place", "ldx", a->ldx, a->D));
    if (a->ldy) PLUMB_TRY(plumb_check_size("place", "ldy", a->ldy, a->D));
    if (a->N == 0) return PLUMB_OK;
    PLUMB_TRY(plumb_check_array("place", dev, "to", a->to));
    PLUMB_TRY(plumb_check_tensor("place", dev, "x", &a->x, PLUMB_MASK_FLOATS));
    PLUMB_TRY(plumb_check_tensor("place", dev, "y", &a->y, PLUMB_MASK(a->x.dtype)));
    for (int64_t n = 0; plumb_device_is_host(dev) && n < a->N; n++)
        if (a->to[n] < 0 || a->to[n] >= a->R)
            return plumb_fail(PLUMB_EINVAL, "place: to[%lld]=%d, y has %lld rows", (long long)n,
                              (int)a->to[n], (long long)a->R);
    return PLUMB_OK;
}

int plumb_place(const struct plumb_device *dev, const struct plumb_place *a)
{
    PLUMB_TRY(check(dev, a));
    if (a->N == 0) return PLUMB_OK;
    if (dev->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_place_cpu, a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "place", a, sizeof *a);
    plumb_place_ref(a, dev->round);
    return PLUMB_OK;
}
