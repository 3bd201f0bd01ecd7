/* Inline f32 functions that compilers vectorise under `#pragma omp simd`, and bf16/f16
 * conversion. */
#pragma once
#include <plumb/base.h>
#include <string.h>

static inline float plumb_f32_of_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, 4);
    return f;
}
static inline uint32_t plumb_bits_of_f32(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}
static inline float plumb_bf16_to_f32(uint16_t h) { return plumb_f32_of_bits((uint32_t)h << 16); }
/* Nearest even; NaN stays NaN. */
static inline uint16_t plumb_f32_to_bf16(float f)
{
    const uint32_t u = plumb_bits_of_f32(f);
    const uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    const uint32_t nan = (u >> 16) | 0x40u;
    return (uint16_t)((u & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
}

static inline float plumb_f16_to_f32(uint16_t h)
{
    const uint32_t a = (uint32_t)(h & 0x7fffu) << 13, sign = (uint32_t)(h & 0x8000u) << 16;
    const uint32_t special = a >= 0x0f800000u ? 112u << 23 : 0u; /* inf and NaN: exponent to 255 */
    const uint32_t normal = a + (112u << 23) + special;
    const float tiny = plumb_f32_of_bits(a + (113u << 23)) - plumb_f32_of_bits(113u << 23);
    return plumb_f32_of_bits((a < 1u << 23 ? plumb_bits_of_f32(tiny) : normal) | sign);
}
/* Nearest even, subnormals too; beyond 65504 by half a step and more: infinity; NaN stays NaN. */
static inline uint16_t plumb_f32_to_f16(float f)
{
    const uint32_t u = plumb_bits_of_f32(f), sign = (u >> 16) & 0x8000u, a = u & 0x7fffffffu;
    const float half = 0.5f; /* adding it leaves the last bit of a subnormal f16 in place */
    const uint32_t tiny = plumb_bits_of_f32(plumb_f32_of_bits(a) + half) - plumb_bits_of_f32(half);
    const uint32_t normal = (a - (112u << 23) + 0xfffu + ((a >> 13) & 1u)) >> 13;
    const uint32_t nan = 0x7e00u | ((a >> 13) & 0x3ffu);
    const uint32_t finite = a < 113u << 23 ? tiny : normal;
    const uint32_t big = a > 255u << 23 ? nan : 0x7c00u;
    return (uint16_t)((a >= 143u << 23 ? big : finite) | sign);
}

/* e^x, error under 2 ulp for results in the normal range; 0 below -87.3, inf above 88.7, NaN for
 * NaN. */
static inline float plumb_expf(float x)
{
    const float hi = x > 89.0f ? 89.0f : x; /* a NaN falls through both comparisons */
    const float c = hi < -88.0f ? -88.0f : hi;
    const float shift = 12582912.0f; /* 1.5 * 2^23: rounds to the nearest integer */
    const float t = c * 1.44269504f + shift;
    const float n = t - shift;
    float r = c - n * 0.693145752f; /* ln 2 in two parts */
    r = r - n * 1.42860677e-6f;
    float p = 1.98756915e-4f;
    p = p * r + 1.39819995e-3f;
    p = p * r + 8.33345190e-3f;
    p = p * r + 4.16657962e-2f;
    p = p * r + 1.66666657e-1f;
    p = p * r + 0.5f;
    p = p * (r * r) + r + 1.0f;
    const uint32_t bits = plumb_bits_of_f32(t);
    const int32_t e = (int32_t)(bits - 0x4b400000u); /* n as an integer */
    const int32_t half = e >> 1;                     /* two factors: e may be 128 */
    const float a = plumb_f32_of_bits((uint32_t)(half + 127) << 23);
    const float b = plumb_f32_of_bits((uint32_t)(e - half + 127) << 23);
    const float y = p * a * b;
    return x < -87.33654f ? 0.0f : y;
}
/* The same for x <= 88 alone, and 0 below -87, in two thirds of the instructions: the terms of a
 * softmax. */
static inline float plumb_expf_below(float x)
{
    const float c = x < -87.0f ? -87.0f : x; /* a NaN stays */
    const float shift = 12582912.0f;
    const float t = c * 1.44269504f + shift;
    const float n = t - shift;
    float r = c - n * 0.693145752f;
    r = r - n * 1.42860677e-6f;
    float p = 1.98756915e-4f;
    p = p * r + 1.39819995e-3f;
    p = p * r + 8.33345190e-3f;
    p = p * r + 4.16657962e-2f;
    p = p * r + 1.66666657e-1f;
    p = p * r + 0.5f;
    p = p * (r * r) + r + 1.0f;
    /* n stands in the low bits of t; its exponent field wraps around to n + 127 */
    const float y = p * plumb_f32_of_bits((plumb_bits_of_f32(t) << 23) + 0x3f800000u);
    return x < -87.0f ? 0.0f : y;
}
static inline float plumb_sigmoidf(float x) { return 1.0f / (1.0f + plumb_expf(-x)); }
/* Error a few ulp; small |x| by its series so that no digits cancel. */
static inline float plumb_tanhf(float x)
{
    const float a = x < 0 ? -x : x;
    const float e = plumb_expf(-2.0f * a);
    const float big = (1.0f - e) / (1.0f + e);
    const float s = x * x;
    const float small = a * (1.0f + s * (-0.333333333f +
                                         s * (0.133333333f +
                                              s * (-0.0539682540f +
                                                   s * (0.0218694885f - s * 0.00886323553f)))));
    const float y = a < 0.3f ? small : big;
    return x < 0 ? -y : y;
}

/* Loads and stores of an element of f32 or bf16 storage; `bf16` is loop-invariant, so compilers
 * hoist it. */
static inline float plumb_load(const void *p, bool bf16, int64_t i)
{
    return bf16 ? plumb_bf16_to_f32(((const uint16_t *)p)[i]) : ((const float *)p)[i];
}
static inline void plumb_store(void *p, bool bf16, int64_t i, float v)
{
    if (bf16)
        ((uint16_t *)p)[i] = plumb_f32_to_bf16(v);
    else
        ((float *)p)[i] = v;
}
