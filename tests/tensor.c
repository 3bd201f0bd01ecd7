/* Tensors for tests: storage, rounding, access by index, the way to a device and back. */
#include "tests/tensor.h"

#include <criterion/criterion.h>
#include <math.h>
#include <plumb/device.h>
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

const struct plumb_device *plumb_test_device(void)
{
    static struct plumb_device dev;
    static bool opened;
    const char *name = getenv("PLUMB_TEST_DEVICE");
    if (!opened)
        cr_assert_eq(plumb_device_open(name ? name : "cpu", &dev), PLUMB_OK, "%s", plumb_errmsg());
    opened = true;
    return &dev;
}

const void *plumb_test_copy(const struct plumb_device *dev, const void *p, size_t bytes)
{
    if (plumb_device_is_host(dev)) return p;
    void *copy;
    cr_assert_eq(plumb_device_alloc(dev, bytes, &copy), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(plumb_device_upload(dev, copy, p, bytes), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(plumb_device_sync(dev), PLUMB_OK, "%s", plumb_errmsg());
    return copy;
}

void plumb_test_to(const struct plumb_device *dev, struct plumb_tensor *t, int64_t count)
{
    if (!t->data || plumb_device_is_host(dev)) return;
    const size_t bytes = (size_t)(count + 1) * plumb_dtype_bytes(t->dtype);
    void *host = t->data;
    cr_assert_eq(plumb_device_alloc(dev, bytes, &t->data), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(plumb_device_upload(dev, t->data, host, bytes), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(plumb_device_sync(dev), PLUMB_OK, "%s", plumb_errmsg());
    free(host);
}

void plumb_test_from(const struct plumb_device *dev, struct plumb_tensor *t, int64_t count)
{
    if (!t->data || plumb_device_is_host(dev)) return;
    const size_t bytes = (size_t)(count + 1) * plumb_dtype_bytes(t->dtype);
    void *host = malloc(bytes), *there = t->data;
    cr_assert(host, "out of memory");
    cr_assert_eq(plumb_device_download(dev, host, there, bytes), PLUMB_OK, "%s", plumb_errmsg());
    plumb_device_free(dev, there);
    t->data = host;
}

/* The array before `k` that has its address, or -1. */
static int same_array(const struct plumb_test_array *list, int k)
{
    for (int i = 0; i < k; i++)
        if (list[i].host == list[k].host) return i;
    return -1;
}

void plumb_test_arrays_to(const struct plumb_device *dev, struct plumb_test_array *list, int n)
{
    if (plumb_device_is_host(dev)) return;
    for (int k = 0; k < n; k++) {
        struct plumb_test_array *a = &list[k];
        memcpy(&a->host, a->at, sizeof a->host);
        if (!a->host) continue;
        const int same = same_array(list, k);
        if (same >= 0) {
            a->there = list[same].there;
        } else {
            cr_assert_eq(plumb_device_alloc(dev, a->bytes, &a->there), PLUMB_OK, "%s",
                         plumb_errmsg());
            cr_assert_eq(plumb_device_upload(dev, a->there, a->host, a->bytes), PLUMB_OK, "%s",
                         plumb_errmsg());
        }
        memcpy(a->at, &a->there, sizeof a->there);
    }
    cr_assert_eq(plumb_device_sync(dev), PLUMB_OK, "%s", plumb_errmsg());
}

void plumb_test_arrays_back(const struct plumb_device *dev, struct plumb_test_array *list, int n)
{
    if (plumb_device_is_host(dev)) return;
    for (int k = 0; k < n; k++) {
        struct plumb_test_array *a = &list[k];
        if (!a->host) continue;
        memcpy(a->at, &a->host, sizeof a->host);
        if (same_array(list, k) >= 0) continue;
        cr_assert_eq(plumb_device_download(dev, a->host, a->there, a->bytes), PLUMB_OK, "%s",
                     plumb_errmsg());
        plumb_device_free(dev, a->there);
    }
}
