#include "io/numbers.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

Test(numbers, every_half_precision_pattern_survives)
{
    for (int t = PLUMB_BF16; t <= PLUMB_F16; t++)
        for (uint32_t bits = 0; bits < 0x10000; bits++) {
            const uint16_t h = (uint16_t)bits;
            uint16_t back;
            double x;
            plumb_numbers_decode((enum plumb_dtype)t, &h, 1, &x);
            plumb_numbers_encode((enum plumb_dtype)t, &x, 1, &back);
            if (isnan(x)) {
                plumb_numbers_decode((enum plumb_dtype)t, &back, 1, &x);
                cr_assert(isnan(x), "%#x", bits);
            } else {
                cr_assert_eq(back, h, "%s %#x", plumb_dtype_name((enum plumb_dtype)t), bits);
                cr_assert_eq(plumb_dtype_round((enum plumb_dtype)t, x), x);
            }
        }
}

/* Neighbours of the halfway points are where rounding twice goes wrong. */
Test(numbers, rounding_is_single_and_to_even)
{
    for (int t = PLUMB_F32; t <= PLUMB_F16; t++)
        for (int e = -30; e < 18; e++)
            for (int k = 0; k < 64; k++)
                for (int side = -1; side <= 1; side++) {
                    const double half = (1 + (2 * k + 1) * plumb_dtype_eps((enum plumb_dtype)t));
                    const double x = ldexp(half + side * 0x1p-50, e);
                    char bytes[4];
                    double y;
                    plumb_numbers_encode((enum plumb_dtype)t, &x, 1, bytes);
                    plumb_numbers_decode((enum plumb_dtype)t, bytes, 1, &y);
                    cr_assert_eq(y, plumb_dtype_round((enum plumb_dtype)t, x), "%s of %a: %a",
                                 plumb_dtype_name((enum plumb_dtype)t), x, y);
                }
}

Test(numbers, blocks_need_no_alignment)
{
    const double in[3] = { 1.5, -2, 0.25 };
    for (int t = PLUMB_F64; t <= PLUMB_F16; t++) {
        char bytes[32];
        double out[3];
        plumb_numbers_encode((enum plumb_dtype)t, in, 3, bytes + 1);
        plumb_numbers_decode((enum plumb_dtype)t, bytes + 1, 3, out);
        cr_expect_eq(memcmp(in, out, sizeof in), 0);
    }
}

Test(numbers, overflow_and_huge_values_become_infinite)
{
    const double x[2] = { 1e300, -1e300 };
    for (int t = PLUMB_F32; t <= PLUMB_F16; t++) {
        char bytes[8];
        double y[2];
        plumb_numbers_encode((enum plumb_dtype)t, x, 2, bytes);
        plumb_numbers_decode((enum plumb_dtype)t, bytes, 2, y);
        cr_expect(isinf(y[0]) && y[0] > 0 && isinf(y[1]) && y[1] < 0);
    }
}
