/* IEEE half precision for the CPU executor: the names of CUDA's header that kernels use. */
#pragma once
#include "tests/hostcuda/include/float16.h"

struct plumb_f16_format {
    static float to_f32(uint16_t b)
    {
        const uint32_t sign = (uint32_t)(b & 0x8000) << 16, e = b >> 10 & 31, m = b & 0x3ff;
        if (e == 31) return plumb_bits<float>(sign | 0x7f800000 | m << 13);
        if (e) return plumb_bits<float>(sign | (e + 112) << 23 | m << 13);
        const float tiny = (float)m * 0x1p-24f;
        return sign ? -tiny : tiny;
    }
    static uint16_t from_f32(float x)
    {
        const uint32_t all = plumb_bits<uint32_t>(x), sign = all >> 16 & 0x8000;
        uint32_t u = all & 0x7fffffff;
        if (u > 0x7f800000) return 0x7fff;
        if (u >= 0x47800000) return (uint16_t)(sign | 0x7c00); /* 65536 and above */
        if (u <
            0x38800000) { /* below 2^-14: the last bit of 0.5f has the weight of a subnormal's */
            const float shifted = plumb_bits<float>(u) + 0.5f;
            return (uint16_t)(sign | (plumb_bits<uint32_t>(shifted) - 0x3f000000));
        }
        u += 0xfff + (u >> 13 & 1);
        return (uint16_t)(sign | (u - (112u << 23)) >> 13);
    }
};
typedef plumb_float16<plumb_f16_format> __half;
typedef plumb_float16x2<plumb_f16_format> __half2;
typedef __half half;
typedef __half2 half2;

inline float __half2float(__half x) { return x; }
inline __half __float2half(float x) { return x; }
inline __half __float2half_rn(float x) { return x; }
inline __half __double2half(double x) { return x; }
inline __half2 __floats2half2_rn(float x, float y) { return { x, y }; }
inline __half2 __float22half2_rn(float2 v) { return { v.x, v.y }; }
inline __half2 __float2half2_rn(float x) { return { x, x }; }
inline float2 __half22float2(__half2 v) { return { v.x, v.y }; }
inline __half2 __halves2half2(__half x, __half y) { return { x, y }; }
inline __half2 __half2half2(__half x) { return { x, x }; }
inline __half __low2half(__half2 v) { return v.x; }
inline __half __high2half(__half2 v) { return v.y; }
inline unsigned short __half_as_ushort(__half x) { return x.bits; }
inline __half __ushort_as_half(unsigned short b) { return __half::of_bits(b); }
