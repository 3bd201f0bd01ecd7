/* Tensors of f64, f32 or bf16 with values given as doubles, on any device. */
#pragma once
#include <plumb/backend.h>

/* `count` elements, rounded to nearest; NaN throughout when values is NULL. Release with
 * plumb_test_free. */
struct plumb_tensor plumb_test_tensor(enum plumb_dtype t, int64_t count, const double *values);
double plumb_test_get(const struct plumb_tensor *t, int64_t i);
void plumb_test_set(struct plumb_tensor *t, int64_t i, double value);
void plumb_test_free(struct plumb_tensor *t);

/* The device under test: PLUMB_TEST_DEVICE, by default the CPU. Opened once. */
const struct plumb_device *plumb_test_device(void);
/* Moves a tensor to the device's memory and back to the host's, where the functions above read it;
 * nothing to do on devices without memory of their own. */
void plumb_test_to(const struct plumb_device *dev, struct plumb_tensor *t, int64_t count);
void plumb_test_from(const struct plumb_device *dev, struct plumb_tensor *t, int64_t count);
/* `p` itself, or a copy on the device that lives as long as the test. */
const void *plumb_test_copy(const struct plumb_device *dev, const void *p, size_t bytes);

/* Arrays that a test keeps on the host while an op works on them: `to` copies each into the
 * device's memory, whose address takes the place of its own; `back` copies them home. Two at the
 * same address stay one, of the first one's size. */
struct plumb_test_array {
    void *at; /* of the pointer to the array */
    size_t bytes;
    void *host, *there; /* filled in by `to` */
};
void plumb_test_arrays_to(const struct plumb_device *dev, struct plumb_test_array *list, int n);
void plumb_test_arrays_back(const struct plumb_device *dev, struct plumb_test_array *list, int n);
