/* Checks the arguments of the norms and picks the code that runs them. */
#include <plumb/backend.h>
#include <plumb/norm.h>

#include "kernels/norm/norm_blocks.h"
#include "kernels/op.h"

PLUMB_CPU_DECLARE(plumb_norm_fwd_cpu, plumb_norm);
PLUMB_CPU_DECLARE(plumb_norm_bwd_cpu, plumb_norm);

size_t plumb_norm_bwd_workspace(const struct plumb_device *dev, const struct plumb_norm *a)
{
    if (plumb_check_args("norm", dev, a, sizeof *a)) return 0;
    if (dev->kind == PLUMB_DEV_REF || a->N <= 0 || a->D <= 0) return 0;
    const int64_t parts = dev->kind == PLUMB_DEV_CUDA ? plumb_norm_parts(a) : plumb_norm_blocks(a);
    return (size_t)parts * (size_t)a->D * (a->kind == PLUMB_NORM_LAYER ? 2 : 1) *
           sizeof(float);
}

static int check_stride(const char *field, int64_t ld, int64_t least)
{
    if (ld == 0 || ld >= least) return PLUMB_OK;
    return plumb_fail(PLUMB_EINVAL, "norm: %s=%lld, must be 0 or at least G*D=%lld", field,
                      (long long)ld, (long long)least);
}

/* Two tensors may share memory only where they also share the layout, or elements would be
 * overwritten unread. */
static int check_alias(const char *out, const struct plumb_tensor *o, int64_t ldo, const char *in,
                       const struct plumb_tensor *i, int64_t ldi)
{
    if (!o->data || o->data != i->data || (o->dtype == i->dtype && ldo == ldi)) return PLUMB_OK;
    return plumb_fail(PLUMB_EINVAL, "norm: %s cannot alias %s: they differ in dtype or row stride",
                      out, in);
}

static int check_both(const struct plumb_device *dev, const struct plumb_norm *a)
{
    PLUMB_TRY(plumb_check_args("norm", dev, a, sizeof *a));
    if (a->kind != PLUMB_NORM_RMS && a->kind != PLUMB_NORM_LAYER)
        return plumb_fail(PLUMB_EINVAL, "norm: kind=%d, must be PLUMB_NORM_RMS or PLUMB_NORM_LAYER",
                          (int)a->kind);
    PLUMB_TRY(plumb_check_size("norm", "N", a->N, 0));
    PLUMB_TRY(plumb_check_size("norm", "G", a->G, 1));
    PLUMB_TRY(plumb_check_size("norm", "D", a->D, 1));
    PLUMB_TRY(check_stride("ldx", a->ldx, a->G * a->D));
    PLUMB_TRY(check_stride("ldy", a->ldy, a->G * a->D));
    if (!(a->eps >= 0)) return plumb_fail(PLUMB_EINVAL, "norm: eps=%g, must be at least 0", a->eps);
    if (a->kind == PLUMB_NORM_RMS && (a->b.data || a->db.data || a->mean.data))
        return plumb_fail(PLUMB_EINVAL, "norm: %s is given, RMSNorm has none",
                          a->b.data    ? "b"
                          : a->db.data ? "db"
                                       : "mean");
    PLUMB_TRY(plumb_check_tensor("norm", dev, "x", &a->x, PLUMB_MASK_FLOATS));
    return plumb_check_tensor("norm", dev, "w", &a->w, PLUMB_MASK_FLOATS);
}

static int check_forward(const struct plumb_device *dev, const struct plumb_norm *a)
{
    PLUMB_TRY(check_both(dev, a));
    const int64_t dense = a->G * a->D, ldx = a->ldx ? a->ldx : dense, ldy = a->ldy ? a->ldy : dense;
    PLUMB_TRY(plumb_check_optional("norm", dev, "delta", &a->delta, PLUMB_MASK_FLOATS));
    if (a->delta.data)
        PLUMB_TRY(plumb_check_tensor("norm", dev, "sum", &a->sum, PLUMB_MASK(a->x.dtype)));
    if (!a->delta.data && a->sum.data)
        return plumb_fail(PLUMB_EINVAL, "norm: sum is given without delta");
    PLUMB_TRY(plumb_check_optional("norm", dev, "b", &a->b, PLUMB_MASK_FLOATS));
    PLUMB_TRY(plumb_check_tensor("norm", dev, "y", &a->y, PLUMB_MASK_FLOATS));
    PLUMB_TRY(plumb_check_optional("norm", dev, "rstd", &a->rstd, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional("norm", dev, "mean", &a->mean, PLUMB_MASK_F32));
    if (a->kind == PLUMB_NORM_LAYER && !a->mean.data != !a->rstd.data)
        return plumb_fail(PLUMB_EINVAL,
                          "norm: %s is missing: LayerNorm's backward needs mean and rstd",
                          a->mean.data ? "rstd" : "mean");
    if (a->delta.data && a->y.data == a->x.data)
        return plumb_fail(PLUMB_EINVAL, "norm: y cannot alias x when delta is given");
    if (a->delta.data &&
        (a->y.data == a->delta.data || a->y.data == a->sum.data || a->sum.data == a->delta.data))
        return plumb_fail(PLUMB_EINVAL, "norm: delta, sum and y cannot alias each other");
    PLUMB_TRY(check_alias("sum", &a->sum, dense, "x", &a->x, ldx));
    return check_alias("y", &a->y, ldy, "x", &a->x, ldx);
}

static int check_backward(const struct plumb_device *dev, const struct plumb_norm *a)
{
    PLUMB_TRY(check_both(dev, a));
    const int64_t dense = a->G * a->D, ldx = a->ldx ? a->ldx : dense, ldy = a->ldy ? a->ldy : dense;
    PLUMB_TRY(plumb_check_tensor("norm", dev, "rstd", &a->rstd, PLUMB_MASK_F32));
    if (a->kind == PLUMB_NORM_LAYER)
        PLUMB_TRY(plumb_check_tensor("norm", dev, "mean", &a->mean, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_tensor("norm", dev, "dy", &a->dy, PLUMB_MASK_FLOATS));
    PLUMB_TRY(plumb_check_optional("norm", dev, "dsum", &a->dsum, PLUMB_MASK_FLOATS));
    PLUMB_TRY(plumb_check_tensor("norm", dev, "dx", &a->dx, PLUMB_MASK_FLOATS));
    PLUMB_TRY(plumb_check_optional("norm", dev, "dw", &a->dw, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional("norm", dev, "db", &a->db, PLUMB_MASK_F32));
    if ((a->dw.data || a->db.data) && a->N > 0 && !a->work.data && dev->kind != PLUMB_DEV_REF)
        return plumb_fail(PLUMB_EINVAL,
                          "norm: work is missing: dw and db need plumb_norm_bwd_workspace bytes");
    if (a->dx.data == a->x.data) return plumb_fail(PLUMB_EINVAL, "norm: dx cannot alias x");
    PLUMB_TRY(check_alias("dx", &a->dx, ldx, "dsum", &a->dsum, dense));
    return check_alias("dx", &a->dx, ldx, "dy", &a->dy, ldy);
}

int plumb_norm_fwd(const struct plumb_device *dev, const struct plumb_norm *a)
{
    PLUMB_TRY(check_forward(dev, a));
    if (dev->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_norm_fwd_cpu, a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "norm_fwd", a, sizeof *a);
    plumb_norm_fwd_ref(a, dev->round);
    return PLUMB_OK;
}

int plumb_norm_bwd(const struct plumb_device *dev, const struct plumb_norm *a)
{
    PLUMB_TRY(check_backward(dev, a));
    if (dev->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_norm_bwd_cpu, a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "norm_bwd", a, sizeof *a);
    plumb_norm_bwd_ref(a, dev->round);
    return PLUMB_OK;
}
