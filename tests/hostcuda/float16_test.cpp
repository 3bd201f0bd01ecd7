/* bfloat16 and half of include/, against values worked out in f64: every half, roundings at and
 * beside every midpoint, the ends of the range, arithmetic rounded once. */
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "tests/hostcuda/selftest.h"

/* x to nearest even with `digits` significant bits and least exponent `emin`; past `most` it is
 * infinite. Arithmetic alone, no bits. */
static double nearest(double x, int digits, int emin, double most)
{
    if (x == 0 || !isfinite(x)) return x;
    int e;
    frexp(x, &e);
    const int shift = (e - 1 > emin ? e - 1 : emin) - digits + 1;
    const double r = ldexp(nearbyint(ldexp(x, -shift)), shift);
    return fabs(r) > most ? copysign(INFINITY, x) : r;
}

static double nearest_half(double x) { return nearest(x, 11, -14, 65504); }
static double nearest_bf16(double x) { return nearest(x, 8, -126, 0x1.fep127); }

static bool same(double a, double b)
{
    return (isnan(a) && isnan(b)) || (a == b && signbit(a) == signbit(b));
}

static double half_value(unsigned bits)
{
    const int e = bits >> 10 & 31, m = bits & 0x3ff;
    const double v = e == 31 ? (m ? NAN : INFINITY) : e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
    return bits & 0x8000 ? -v : v;
}

static void every_half_has_its_value_and_comes_back()
{
    int wrong = 0;
    for (unsigned b = 0; b < 65536; b++) {
        const __half h = __ushort_as_half((unsigned short)b);
        const double v = half_value(b);
        wrong += !same(__half2float(h), v);
        wrong += !isnan(v) && __half_as_ushort(__float2half((float)v)) != b;
    }
    CHECK(wrong == 0);
}

/* At the midpoint of two neighbours and one f32 step to both sides. */
static void floats_round_to_nearest_even()
{
    int wrong = 0, wrong_bf16 = 0;
    for (unsigned b = 0; b < 65536; b++) {
        const double v = half_value(b), next = half_value(b + 1 < 65536 ? b + 1 : b);
        const float mid = (float)((v + (isfinite(next) ? next : v)) / 2);
        const float w = plumb_bits<float>(b << 16 | 0x8000);
        for (int side = -1; side <= 1; side++) {
            const float x = side ? nextafterf(mid, side * INFINITY) : mid;
            const float y = side ? plumb_bits<float>((b << 16 | 0x8000) + side) : w;
            wrong += !same(__half2float(__float2half_rn(x)), nearest_half(x));
            wrong_bf16 += !same(__bfloat162float(__float2bfloat16_rn(y)), nearest_bf16(y));
        }
    }
    CHECK(wrong == 0);
    CHECK(wrong_bf16 == 0);
    CHECK(isinf(__half2float(__float2half(65520.0f))));
    CHECK(__half2float(__float2half(65519.996f)) == 65504.0f);
    CHECK(isinf(__bfloat162float(__float2bfloat16(3.4e38f))));
}

static void doubles_round_once()
{
    /* through f32 these would land on a midpoint and go to even */
    CHECK(__half2float(__double2half(1 + 0x1p-11 + 0x1p-40)) == 1 + 0x1p-10f);
    CHECK(__half2float(__double2half(1 + 3 * 0x1p-11 - 0x1p-40)) == 1 + 0x1p-10f);
    CHECK(__bfloat162float(__double2bfloat16(1 + 0x1p-8 + 0x1p-40)) == 1 + 0x1p-7f);
    CHECK(__bfloat162float(__double2bfloat16(-1e300)) == -INFINITY);
}

static void arithmetic_rounds_once()
{
    int wrong = 0;
    for (int i = 0; i < 100000; i++) {
        const __nv_bfloat16 a = selftest_random(), b = selftest_random(), c = selftest_random();
        const __half p = selftest_random(), q = selftest_random();
        const double x = (double)(float)a, y = (double)(float)b;
        wrong += !same((float)(a + b), nearest_bf16(x + y));
        wrong += !same((float)__hmul(a, b), nearest_bf16(x * y));
        wrong += !same((float)__hfma(a, b, c), nearest_bf16(fma(x, y, (double)(float)c)));
        wrong += !same((float)(p - q), nearest_half((double)(float)p - (double)(float)q));
        wrong += (float)q != 0 && !same((float)(p / q), nearest_half((double)(float)p / (float)q));
    }
    CHECK(wrong == 0);
    CHECK((float)__hmax(__float2half(NAN), __float2half(2)) == 2.0f);
}

int main()
{
    every_half_has_its_value_and_comes_back();
    floats_round_to_nearest_even();
    doubles_round_once();
    arithmetic_rounds_once();
    return selftest_end("float16");
}
