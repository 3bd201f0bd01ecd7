/* Conversions against plumb_dtype_round, which rounds by scaling, and over every bit pattern. */
#include <plumb/optim.h>

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/tensor.h"

enum { ALL = 65536 };

static void run(struct plumb_cast a)
{
    const struct plumb_device *dev = plumb_test_device();
    struct plumb_test_array list[2] = {
        { .at = &a.x.data, .bytes = (size_t)a.count * plumb_dtype_bytes(a.x.dtype) },
        { .at = &a.y.data, .bytes = (size_t)a.count * plumb_dtype_bytes(a.y.dtype) }
    };
    plumb_test_arrays_to(dev, list, 2);
    cr_assert_eq(plumb_cast(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
    plumb_test_arrays_back(dev, list, 2);
}

static void convert(void *x, enum plumb_dtype tx, void *y, enum plumb_dtype ty, int64_t count)
{
    run((struct plumb_cast){ .struct_bytes = sizeof(struct plumb_cast),
                             .count = count,
                             .x = { x, tx },
                             .y = { y, ty } });
}

/* The value of a 16-bit pattern from its definition: sign, exponent, mantissa. */
static double value(uint16_t h, int mantissa, int bias)
{
    const int e = (h & 0x7fff) >> mantissa, f = h & ((1 << mantissa) - 1);
    const int top = (1 << (15 - mantissa)) - 1;
    const double sign = h & 0x8000 ? -1 : 1;
    if (e == top) return f ? NAN : sign * INFINITY;
    return sign *
           (e ? ldexp((1 << mantissa) + f, e - bias - mantissa) : ldexp(f, 1 - bias - mantissa));
}

static void every_pattern_survives(enum plumb_dtype t, int mantissa, int bias)
{
    static uint16_t h[ALL], back[ALL];
    static float f[ALL];
    static double d[ALL];
    for (int i = 0; i < ALL; i++)
        h[i] = (uint16_t)i;
    convert(h, t, f, PLUMB_F32, ALL);
    convert(h, t, d, PLUMB_F64, ALL);
    for (int pass = 0; pass < 2; pass++) {
        convert(pass ? (void *)d : (void *)f, pass ? PLUMB_F64 : PLUMB_F32, back, t, ALL);
        for (int i = 0; i < ALL; i++) {
            const double want = value(h[i], mantissa, bias);
            if (isnan(want)) {
                cr_assert(isnan(f[i]) && isnan(d[i]) && isnan(value(back[i], mantissa, bias)));
                continue;
            }
            cr_assert((double)f[i] == want && d[i] == want, "%#x is %g", i, (double)f[i]);
            cr_assert_eq(back[i], h[i], "%#x came back as %#x", i, back[i]);
        }
    }
}

Test(cast, every_f16_is_read_right_and_survives) { every_pattern_survives(PLUMB_F16, 10, 15); }
Test(cast, every_bf16_is_read_right_and_survives) { every_pattern_survives(PLUMB_BF16, 7, 127); }

/* f32 and f64 values around every 16-bit number and every midpoint between neighbours. */
static void rounds_to_nearest_even(enum plumb_dtype t, int mantissa, int bias)
{
    enum { NEAR = 5 };
    static float f[2 * NEAR * ALL];
    static double d[2 * NEAR * ALL];
    static uint16_t from_f[2 * NEAR * ALL], from_d[2 * NEAR * ALL];
    int64_t n = 0;
    for (int i = 0; i < ALL; i++) {
        const double at = value((uint16_t)i, mantissa, bias),
                     to = value((uint16_t)(i + 1), mantissa, bias);
        if (!isfinite(at)) continue;
        const double middle = isfinite(to) ? (at + to) / 2 : at * (1 + ldexp(1, -mantissa - 2));
        const double points[2] = { at, middle };
        for (int p = 0; p < 2; p++)
            for (int k = -2; k <= 2; k++, n++) {
                float step = (float)points[p];
                for (int s = 0; s < abs(k); s++)
                    step = nextafterf(step, k < 0 ? -INFINITY : INFINITY);
                f[n] = step;
                d[n] = points[p] * (1 + k * 0x1p-50);
            }
    }
    convert(f, PLUMB_F32, from_f, t, n);
    convert(d, PLUMB_F64, from_d, t, n);
    for (int64_t i = 0; i < n; i++) {
        const double want_f = plumb_dtype_round(t, (double)f[i]),
                     want_d = plumb_dtype_round(t, d[i]);
        cr_assert_eq(value(from_f[i], mantissa, bias), want_f, "%.9g is not %g", (double)f[i],
                     want_f);
        cr_assert_eq(value(from_d[i], mantissa, bias), want_d, "%.17g is not %g", d[i], want_d);
    }
}

Test(cast, rounds_to_the_nearest_f16) { rounds_to_nearest_even(PLUMB_F16, 10, 15); }
Test(cast, rounds_to_the_nearest_bf16) { rounds_to_nearest_even(PLUMB_BF16, 7, 127); }

/* The instruction set is chosen once a process, and each test has its own. */
Test(cast, rounds_alike_on_avx2)
{
    setenv("PLUMB_ISA", "v3", 1);
    every_pattern_survives(PLUMB_F16, 10, 15);
    rounds_to_nearest_even(PLUMB_F16, 10, 15);
    rounds_to_nearest_even(PLUMB_BF16, 7, 127);
}

Test(cast, rounds_alike_on_the_baseline)
{
    setenv("PLUMB_ISA", "v2", 1);
    every_pattern_survives(PLUMB_F16, 10, 15);
    rounds_to_nearest_even(PLUMB_F16, 10, 15);
    rounds_to_nearest_even(PLUMB_BF16, 7, 127);
}

Test(cast, numbers_beyond_the_range_become_infinity_and_nan_stays)
{
    double d[6] = { 1e300, -1e300, 65519.999999, 65520, NAN, 1e-300 };
    float f[6];
    uint16_t h[6];
    convert(d, PLUMB_F64, f, PLUMB_F32, 6);
    cr_expect(f[0] == INFINITY && f[1] == -INFINITY && isnan(f[4]) && f[5] == 0);
    convert(d, PLUMB_F64, h, PLUMB_F16, 6);
    cr_expect(h[0] == 0x7c00 && h[1] == 0xfc00 && h[2] == 0x7bff && h[3] == 0x7c00 && h[5] == 0);
    cr_expect((h[4] & 0x7fff) > 0x7c00, "NaN became %#x", h[4]);
    convert(d, PLUMB_F64, h, PLUMB_BF16, 6);
    cr_expect(h[0] == 0x7f80 && h[1] == 0xff80 && (h[4] & 0x7fff) > 0x7f80 && h[5] == 0);
}

/* Small integers are exact in all four dtypes, so every pair must give them back. */
Test(cast, every_pair_of_dtypes_converts_and_adds)
{
    for (int tx = PLUMB_F64; tx <= PLUMB_F16; tx++)
        for (int ty = PLUMB_F64; ty <= PLUMB_F16; ty++) {
            double in[50], out[50];
            char x[50 * 8], y[50 * 8];
            for (int i = 0; i < 50; i++)
                in[i] = i - 25;
            convert(in, PLUMB_F64, x, (enum plumb_dtype)tx, 50);
            convert(x, (enum plumb_dtype)tx, y, (enum plumb_dtype)ty, 50);
            run((struct plumb_cast){ .struct_bytes = sizeof(struct plumb_cast),
                                     .count = 50,
                                     .x = { x, (enum plumb_dtype)tx },
                                     .y = { y, (enum plumb_dtype)ty },
                                     .accumulate = true });
            convert(y, (enum plumb_dtype)ty, out, PLUMB_F64, 50);
            for (int i = 0; i < 50; i++)
                cr_assert_eq(out[i], 2 * in[i], "%d to %d: %g", tx, ty, out[i]);
        }
}

Test(cast, refuses_an_alias_of_another_size)
{
    float x[4] = { 0 };
    struct plumb_cast a = { .struct_bytes = sizeof a,
                            .count = 4,
                            .x = { x, PLUMB_F32 },
                            .y = { x, PLUMB_BF16 } };
    cr_expect_eq(plumb_cast(&plumb_cpu, &a), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), "bfloat16"), "message was: %s", plumb_errmsg());
    a.y.dtype = PLUMB_I32;
    cr_expect_eq(plumb_cast(&plumb_cpu, &a), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), "int32"), "message was: %s", plumb_errmsg());
}
