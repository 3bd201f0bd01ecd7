/* Checks the arguments of the conversion and picks the code that runs it. */
#include <plumb/backend.h>
#include <plumb/optim.h>

#include "kernels/op.h"

PLUMB_CPU_DECLARE(plumb_cast_cpu, plumb_cast);

#define FLOATS (PLUMB_MASK_FLOATS | PLUMB_MASK(PLUMB_F64) | PLUMB_MASK(PLUMB_F16))

int plumb_cast(const struct plumb_device *dev, const struct plumb_cast *a)
{
    PLUMB_TRY(plumb_check_args("cast", dev, a, sizeof *a));
    PLUMB_TRY(plumb_check_size("cast", "count", a->count, 0));
    if (a->count == 0) return PLUMB_OK;
    /* Weights of any dtype are brought to ref's f64 by this op, so ref takes what the cpu does. */
    const struct plumb_device *rules = dev->kind == PLUMB_DEV_REF ? &plumb_cpu : dev;
    PLUMB_TRY(plumb_check_tensor("cast", rules, "x", &a->x, FLOATS));
    PLUMB_TRY(plumb_check_tensor("cast", rules, "y", &a->y, FLOATS));
    if (a->x.data == a->y.data && plumb_dtype_bytes(a->x.dtype) != plumb_dtype_bytes(a->y.dtype))
        return plumb_fail(PLUMB_EINVAL, "cast: y is x, but %s and %s differ in size",
                          plumb_dtype_name(a->x.dtype), plumb_dtype_name(a->y.dtype));
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "cast", a, sizeof *a);
    if (dev->kind == PLUMB_DEV_CPU || a->x.dtype != PLUMB_F64 || a->y.dtype != PLUMB_F64)
        return PLUMB_CPU_CALL(plumb_cast_cpu, a);
    plumb_cast_ref(a, dev->round);
    return PLUMB_OK;
}
