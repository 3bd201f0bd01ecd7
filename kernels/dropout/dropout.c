/* Checks the arguments of dropout and picks the code that runs it. */
#include <math.h>
#include <plumb/backend.h>
#include <plumb/dropout.h>

#include "kernels/op.h"

PLUMB_CPU_DECLARE(plumb_dropout_cpu, plumb_dropout);

static int check_mask(const struct plumb_device *dev, const struct plumb_dropout *a)
{
    if (!(a->p >= 0 && a->p < 1))
        return plumb_fail(PLUMB_EINVAL, "dropout: p=%g lies outside [0, 1)", a->p);
    if (a->p == 0 || a->N == 0) return PLUMB_OK;
    if (a->stream < 0 || a->stream >= 1 << 24)
        return plumb_fail(PLUMB_EINVAL, "dropout: stream=%lld lies outside [0, 2^24)",
                          (long long)a->stream);
    PLUMB_TRY(plumb_check_array("dropout", dev, "sample", a->sample));
    return plumb_check_array("dropout", dev, "position", a->position);
}

static int check(const struct plumb_device *dev, const struct plumb_dropout *a)
{
    PLUMB_TRY(plumb_check_args("dropout", dev, a, sizeof *a));
    PLUMB_TRY(plumb_check_size("dropout", "N", a->N, 0));
    PLUMB_TRY(plumb_check_size("dropout", "D", a->D, 1));
    if (a->ldx) PLUMB_TRY(plumb_check_size("dropout", "ldx", a->ldx, a->D));
    if (a->ldy) PLUMB_TRY(plumb_check_size("dropout", "ldy", a->ldy, a->D));
    if (!isfinite(a->scale)) return plumb_fail(PLUMB_EINVAL, "dropout: scale=%g", a->scale);
    PLUMB_TRY(check_mask(dev, a));
    if (a->N == 0) return PLUMB_OK;
    PLUMB_TRY(plumb_check_tensor("dropout", dev, "x", &a->x, PLUMB_MASK_FLOATS));
    PLUMB_TRY(plumb_check_tensor("dropout", dev, "y", &a->y, PLUMB_MASK_FLOATS));
    const int64_t ldx = a->ldx ? a->ldx : a->D, ldy = a->ldy ? a->ldy : a->D;
    if (a->x.data == a->y.data && (a->accumulate || a->x.dtype != a->y.dtype || ldx != ldy))
        return plumb_fail(PLUMB_EINVAL, "dropout: y can be x only with its dtype and stride, and "
                                        "without accumulate");
    return PLUMB_OK;
}

int plumb_dropout(const struct plumb_device *dev, const struct plumb_dropout *args)
{
    PLUMB_TRY(check(dev, args));
    struct plumb_dropout a = *args;
    if (a.N == 0) return PLUMB_OK;
    if (!a.ldx) a.ldx = a.D;
    if (!a.ldy) a.ldy = a.D;
    if (dev->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_dropout_cpu, &a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "dropout", &a, sizeof a);
    plumb_dropout_ref(&a, dev->round);
    return PLUMB_OK;
}
