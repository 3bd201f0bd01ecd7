/* Tensors for tests: storage, rounding, access by index. */
#include "tests/tensor.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct plumb_tensor plumb_test_tensor(enum plumb_dtype t, int64_t count, const double *values)
{
    struct plumb_tensor out = { malloc((size_t)(count + 1) * plumb_dtype_bytes(t)), t };
    cr_assert(out.data, "out of memory");
    for (int64_t i = 0; i < count; i++)
        plumb_test_set(&out, i, values ? values[i] : NAN);
    return out;
}

double plumb_test_get(const struct plumb_tensor *t, int64_t i)
{
    if (t->dtype == PLUMB_F64) return ((const double *)t->data)[i];
    if (t->dtype == PLUMB_F32) return (double)((const float *)t->data)[i];
    const uint32_t u = (uint32_t)((const uint16_t *)t->data)[i] << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return (double)f;
}

void plumb_test_set(struct plumb_tensor *t, int64_t i, double value)
{
    const float f = (float)plumb_dtype_round(t->dtype, value);
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    if (t->dtype == PLUMB_F64)
        ((double *)t->data)[i] = value;
    else if (t->dtype == PLUMB_F32)
        ((float *)t->data)[i] = f;
    else
        ((uint16_t *)t->data)[i] = (uint16_t)(u >> 16);
}

void plumb_test_free(struct plumb_tensor *t)
{
    free(t->data);
    t->data = NULL;
}
