/* Tensors of f64, f32 or bf16 with values given as doubles. */
#pragma once
#include <plumb/base.h>

/* `count` elements, rounded to nearest; NaN throughout when values is NULL. Release with
 * plumb_test_free. */
struct plumb_tensor plumb_test_tensor(enum plumb_dtype t, int64_t count, const double *values);
double plumb_test_get(const struct plumb_tensor *t, int64_t i);
void plumb_test_set(struct plumb_tensor *t, int64_t i, double value);
void plumb_test_free(struct plumb_tensor *t);
