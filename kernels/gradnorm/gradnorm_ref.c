/* Oracle of the gradient norm: a plain sum of squares. */
#include <plumb/optim.h>

#include <math.h>

void plumb_gradnorm_ref(const struct plumb_gradnorm *a, enum plumb_dtype round)
{
    const double *x = a->x.data;
    double sum = 0;
    int64_t bad = -1;
    for (int64_t i = 0; i < a->count; i++) {
        if (bad < 0 && !isfinite(x[i])) bad = i;
        sum = plumb_dtype_round(round, sum + plumb_dtype_round(round, x[i] * x[i]));
    }
    *a->norm = plumb_dtype_round(round, sqrt(sum));
    if (a->first_bad) *a->first_bad = bad;
}
