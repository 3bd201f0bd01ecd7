/* Oracle of the conversion: both tensors are f64, so only `round` changes a number. */
#include <plumb/optim.h>

void plumb_cast_ref(const struct plumb_cast *a, enum plumb_dtype round)
{
    const double *x = a->x.data;
    double *y = a->y.data;
    for (int64_t i = 0; i < a->count; i++)
        y[i] = plumb_dtype_round(round, a->accumulate ? y[i] + x[i] : x[i]);
}
