/* Numbers as files store them: little-endian f64, f32, bf16, f16. */
#include "io/numbers.h"

#include <math.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "model files are little-endian");

static uint32_t bits_of(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}

static float float_of(uint32_t u)
{
    float f;
    memcpy(&f, &u, 4);
    return f;
}

/* f64 to bf16 by way of f32 would round twice; the first step therefore rounds to odd, which keeps
 * the second right. */
static uint16_t to_bf16(double x)
{
    const float f = (float)x;
    uint32_t u = bits_of(f);
    if (isnan(x)) return (uint16_t)(u >> 16 | 0x40);
    if ((double)f != x) u = (u - (fabs((double)f) > fabs(x))) | 1;
    return (uint16_t)((u + 0x7FFF + (u >> 16 & 1)) >> 16);
}

static uint16_t to_f16(double x)
{
    const uint16_t sign = signbit(x) ? 0x8000 : 0;
    if (isnan(x)) return sign | 0x7E00;
    const double y = fabs(plumb_dtype_round(PLUMB_F16, x));
    if (isinf(y)) return sign | 0x7C00;
    if (y < 0x1p-14) return sign | (uint16_t)(y * 0x1p24); /* subnormal */
    int e;
    const double m = frexp(y, &e); /* in [0.5, 1) */
    return (uint16_t)(sign | (e + 14) << 10 | (int)((m - 0.5) * 0x1p11));
}

static double of_f16(uint16_t h)
{
    const int e = h >> 10 & 31, m = h & 1023;
    const double y = e == 31 ? (m ? NAN : INFINITY) : e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
    return h & 0x8000 ? -y : y;
}

void plumb_numbers_decode(enum plumb_dtype t, const void *src, int64_t n, double *dst)
{
    const char *p = src;
    uint16_t h;
    float f;
    switch (t) {
    case PLUMB_F64: memcpy(dst, src, (size_t)n * 8); return;
    case PLUMB_F32:
        for (int64_t i = 0; i < n; i++) {
            memcpy(&f, p + 4 * i, 4);
            dst[i] = (double)f;
        }
        return;
    case PLUMB_BF16:
        for (int64_t i = 0; i < n; i++) {
            memcpy(&h, p + 2 * i, 2);
            dst[i] = (double)float_of((uint32_t)h << 16);
        }
        return;
    case PLUMB_F16:
        for (int64_t i = 0; i < n; i++) {
            memcpy(&h, p + 2 * i, 2);
            dst[i] = of_f16(h);
        }
        return;
    default: PLUMB_ASSERT(!"a float type");
    }
}

static double of_e4m3(unsigned b)
{
    const int e = b >> 3 & 15, m = b & 7;
    if (e == 15 && m == 7) return NAN;
    return e ? ldexp(8 + m, e - 10) : ldexp(m, -9);
}

void plumb_numbers_of_f8(int exponent_bits, const void *src, int64_t n, double *dst)
{
    const unsigned char *p = src;
    for (int64_t i = 0; i < n; i++) {
        if (exponent_bits == 8) {
            dst[i] = p[i] == 255 ? NAN : ldexp(1, p[i] - 127);
            continue;
        }
        /* E5M2 is an f16 whose low byte is zero. */
        dst[i] = exponent_bits == 5 ? of_f16((uint16_t)(p[i] << 8)) : of_e4m3(p[i] & 127);
        if (exponent_bits == 4 && p[i] & 128) dst[i] = -dst[i];
    }
}

void plumb_numbers_encode(enum plumb_dtype t, const double *src, int64_t n, void *dst)
{
    char *p = dst;
    switch (t) {
    case PLUMB_F64: memcpy(dst, src, (size_t)n * 8); return;
    case PLUMB_F32:
        for (int64_t i = 0; i < n; i++) {
            const float f = (float)src[i];
            memcpy(p + 4 * i, &f, 4);
        }
        return;
    case PLUMB_BF16:
    case PLUMB_F16:
        for (int64_t i = 0; i < n; i++) {
            const uint16_t h = t == PLUMB_BF16 ? to_bf16(src[i]) : to_f16(src[i]);
            memcpy(p + 2 * i, &h, 2);
        }
        return;
    default: PLUMB_ASSERT(!"a float type");
    }
}
