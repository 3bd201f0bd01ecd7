/* Data types: sizes, names, rounding. */
#include <math.h>
#include <plumb/base.h>
#include <string.h>

static const struct {
    const char *name;
    size_t bytes;
    int mantissa; /* bits after the leading one */
    int lowest;   /* exponent of the smallest normal number */
    double largest;
} types[PLUMB_DTYPES] = {
    [PLUMB_F64] = { "float64", 8, 52, -1022, 1.7976931348623157e308 },
    [PLUMB_F32] = { "float32", 4, 23, -126, 3.4028234663852886e38 },
    [PLUMB_BF16] = { "bfloat16", 2, 7, -126, 3.3895313892515355e38 },
    [PLUMB_F16] = { "float16", 2, 10, -14, 65504 },
    [PLUMB_I32] = { "int32", 4, 0, 0, 0 },
    [PLUMB_I64] = { "int64", 8, 0, 0, 0 },
};

size_t plumb_dtype_bytes(enum plumb_dtype t) { return types[t].bytes; }
const char *plumb_dtype_name(enum plumb_dtype t) { return types[t].name; }

double plumb_dtype_eps(enum plumb_dtype t)
{
    return types[t].mantissa ? ldexp(1, -types[t].mantissa - 1) : 0;
}

double plumb_dtype_round(enum plumb_dtype t, double x)
{
    if (t == PLUMB_F64 || t == PLUMB_I32 || t == PLUMB_I64 || !isfinite(x) || x == 0) return x;
    if (t == PLUMB_F32) return (double)(float)x;
    int e;
    frexp(x, &e); /* |x| in [2^(e-1), 2^e) */
    const int lowest = types[t].lowest;
    const int last = (e - 1 < lowest ? lowest : e - 1) -
                     types[t].mantissa; /* exponent of the last kept bit */
    const double y = ldexp(nearbyint(ldexp(x, -last)), last);
    return fabs(y) > types[t].largest ? copysign(INFINITY, x) : y;
}
