/* The inline exponentials against the C library's in double. */
#include "kernels/simd.h"

#include <criterion/criterion.h>
#include <math.h>

/* Error in units in the last place of a normal result. */
static double ulps(float got, double exact)
{
    int e;
    frexp(exact, &e);
    return fabs((double)got - exact) / ldexp(1, e - 24);
}

Test(simd, exponentials_are_within_two_units_in_the_last_place)
{
    double worst = 0, worst_below = 0;
    for (int i = 0; i < 2000000; i++) {
        const float x = -87.0f + 175.0f * (float)i / 2e6f;
        const double exact = exp((double)x);
        worst = fmax(worst, ulps(plumb_expf(x), exact));
        worst_below = fmax(worst_below, ulps(plumb_expf_below(x), exact));
    }
    cr_expect_lt(worst, 2);
    cr_expect_lt(worst_below, 2);
}

Test(simd, exponentials_keep_nan_and_end_in_zero_and_infinity)
{
    static const float low[] = { -88.0f, -1000.0f, -1e30f, -INFINITY };
    for (int i = 0; i < 4; i++) {
        cr_expect_eq(plumb_expf(low[i]), 0);
        cr_expect_eq(plumb_expf_below(low[i]), 0);
    }
    cr_expect(isnan(plumb_expf(NAN)) && isnan(plumb_expf_below(NAN)));
    cr_expect_eq(plumb_expf(INFINITY), INFINITY);
    cr_expect_eq(plumb_expf(89.0f), INFINITY);
    cr_expect_eq(plumb_expf(0), 1);
    cr_expect_eq(plumb_expf_below(0), 1);
}
