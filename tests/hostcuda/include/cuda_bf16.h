/* bfloat16 for the CPU executor: the names of CUDA's header that kernels use. */
#pragma once
#include "tests/hostcuda/include/float16.h"

struct plumb_bf16_format {
    static float to_f32(uint16_t b) { return plumb_bits<float>((uint32_t)b << 16); }
    static uint16_t from_f32(float x)
    {
        const uint32_t u = plumb_bits<uint32_t>(x);
        if ((u & 0x7fffffff) > 0x7f800000) return 0x7fff;
        return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
    }
};
typedef plumb_float16<plumb_bf16_format> __nv_bfloat16;
typedef plumb_float16x2<plumb_bf16_format> __nv_bfloat162;
typedef __nv_bfloat16 nv_bfloat16;
typedef __nv_bfloat162 nv_bfloat162;

inline float __bfloat162float(__nv_bfloat16 x) { return x; }
inline __nv_bfloat16 __float2bfloat16(float x) { return x; }
inline __nv_bfloat16 __float2bfloat16_rn(float x) { return x; }
inline __nv_bfloat16 __double2bfloat16(double x) { return x; }
inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) { return { x, y }; }
inline __nv_bfloat162 __float22bfloat162_rn(float2 v) { return { v.x, v.y }; }
inline __nv_bfloat162 __float2bfloat162_rn(float x) { return { x, x }; }
inline float2 __bfloat1622float2(__nv_bfloat162 v) { return { v.x, v.y }; }
inline __nv_bfloat162 __halves2bfloat162(__nv_bfloat16 x, __nv_bfloat16 y) { return { x, y }; }
inline __nv_bfloat162 __bfloat162bfloat162(__nv_bfloat16 x) { return { x, x }; }
inline __nv_bfloat16 __low2bfloat16(__nv_bfloat162 v) { return v.x; }
inline __nv_bfloat16 __high2bfloat16(__nv_bfloat162 v) { return v.y; }
inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 x) { return x.bits; }
inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short b) { return __nv_bfloat16::of_bits(b); }
