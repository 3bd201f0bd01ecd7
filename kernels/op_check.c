/* Argument checks shared by all ops. */
#include "kernels/op.h"

#include <math.h>
#include <plumb/device.h>
#include <string.h>

int plumb_check_args(const char *op, const struct plumb_device *dev, const void *a, size_t wanted)
{
    size_t given;
    if (!dev || !a)
        return plumb_fail(PLUMB_EINVAL, "%s: %s is NULL", op, dev ? "the struct" : "the device");
    memcpy(&given, a, sizeof given);
    if (given == wanted) return PLUMB_OK;
    return plumb_fail(
        PLUMB_EINVAL,
        "%s: struct_bytes is %zu, this library's struct has %zu: set it to sizeof, or rebuild", op,
        given, wanted);
}

int plumb_check_optional(const char *op, const struct plumb_device *dev, const char *field,
                         const struct plumb_tensor *t, unsigned mask)
{
    if (!t->data) return PLUMB_OK;
    if (dev->kind == PLUMB_DEV_REF) mask = PLUMB_MASK(PLUMB_F64);
    if ((unsigned)t->dtype < PLUMB_DTYPES && (mask & PLUMB_MASK(t->dtype)))
        return plumb_backend_reaches(dev, op, field, t->data);
    return plumb_fail(PLUMB_EINVAL, "%s: %s cannot be %s here", op, field,
                      (unsigned)t->dtype < PLUMB_DTYPES ? plumb_dtype_name(t->dtype)
                                                        : "of an unknown dtype");
}

int plumb_check_tensor(const char *op, const struct plumb_device *dev, const char *field,
                       const struct plumb_tensor *t, unsigned mask)
{
    PLUMB_TRY(plumb_check_optional(op, dev, field, t, mask));
    if (t->data) return PLUMB_OK;
    return plumb_fail(PLUMB_EINVAL, "%s: %s is missing", op, field);
}

int plumb_check_array(const char *op, const struct plumb_device *dev, const char *field,
                      const void *p)
{
    if (p) return plumb_backend_reaches(dev, op, field, p);
    return plumb_fail(PLUMB_EINVAL, "%s: %s is missing", op, field);
}

int plumb_check_host_array(const char *op, const char *field, const void *p)
{
    return plumb_check_array(op, &plumb_cpu, field, p);
}

int plumb_check_size(const char *op, const char *field, int64_t value, int64_t least)
{
    if (value >= least) return PLUMB_OK;
    return plumb_fail(PLUMB_EINVAL, "%s: %s=%lld, must be at least %lld", op, field,
                      (long long)value, (long long)least);
}

int plumb_check_runs(const char *op, const struct plumb_device *dev, const int32_t *offset,
                     int64_t R)
{
    if (R == 0) return PLUMB_OK;
    PLUMB_TRY(plumb_check_array(op, dev, "offset", offset));
    if (!plumb_device_is_host(dev)) return PLUMB_OK;
    if (offset[0] < 0)
        return plumb_fail(PLUMB_EINVAL, "%s: offset[0]=%d, must be at least 0", op, offset[0]);
    for (int64_t r = 0; r < R; r++)
        if (offset[r + 1] < offset[r])
            return plumb_fail(PLUMB_EINVAL, "%s: offset[%lld]=%d is less than offset[%lld]=%d", op,
                              (long long)r + 1, offset[r + 1], (long long)r, offset[r]);
    return PLUMB_OK;
}

int plumb_check_positive(const char *op, const char *field, double value)
{
    if (value > 0 && isfinite(value)) return PLUMB_OK;
    return plumb_fail(PLUMB_EINVAL, "%s: %s=%g, must be positive and finite", op, field, value);
}
