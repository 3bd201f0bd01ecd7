/* Four neighbours of an array as one access, in f32: 16 bytes of f32, 8 of bf16 or f16. A warp
 * that takes quads side by side asks for whole sectors in every storage type. Where the array's
 * start or stride leaves quads unaligned, or it ends inside one, elements are taken one by one. */
#pragma once
#include "kernels/gpu.h"

struct plumb_quad {
    float v[4];
};

PLUMB_DEVICE float plumb_wide(__half x) { return __half2float(x); }
PLUMB_DEVICE void plumb_narrow(__half *to, float x) { *to = __float2half_rn(x); }

/* A 16-bit float of T from its bits, and back. */
PLUMB_DEVICE void plumb_from_bits(__nv_bfloat16 *to, unsigned short u)
{
    *to = __ushort_as_bfloat16(u);
}
PLUMB_DEVICE void plumb_from_bits(__half *to, unsigned short u) { *to = __ushort_as_half(u); }
PLUMB_DEVICE unsigned short plumb_to_bits(__nv_bfloat16 x) { return __bfloat16_as_ushort(x); }
PLUMB_DEVICE unsigned short plumb_to_bits(__half x) { return __half_as_ushort(x); }

template <class T> PLUMB_DEVICE struct plumb_quad plumb_quad_of(unsigned long long u)
{
    struct plumb_quad q;
    PLUMB_UNROLL for (int k = 0; k < 4; k++)
    {
        T x;
        plumb_from_bits(&x, (unsigned short)(u >> 16 * k));
        q.v[k] = plumb_wide(x);
    }
    return q;
}

/* One access at a multiple of four elements; `ldcs4` where no one reads the numbers again. */
template <class T> PLUMB_DEVICE struct plumb_quad plumb_ld4(const T *p)
{
    return plumb_quad_of<T>(*reinterpret_cast<const unsigned long long *>(p));
}
template <class T> PLUMB_DEVICE struct plumb_quad plumb_ldcs4(const T *p)
{
    return plumb_quad_of<T>(__ldcs(reinterpret_cast<const unsigned long long *>(p)));
}
template <class T> PLUMB_DEVICE void plumb_st4(T *p, const struct plumb_quad *q)
{
    unsigned long long u = 0;
    PLUMB_UNROLL for (int k = 0; k < 4; k++)
    {
        T x;
        plumb_narrow(&x, q->v[k]);
        u |= (unsigned long long)plumb_to_bits(x) << 16 * k;
    }
    *reinterpret_cast<unsigned long long *>(p) = u;
}
PLUMB_DEVICE struct plumb_quad plumb_ld4(const float *p)
{
    const plumb_vec<float> x = plumb_ld16(p);
    return plumb_quad{ { x.v[0], x.v[1], x.v[2], x.v[3] } };
}
PLUMB_DEVICE struct plumb_quad plumb_ldcs4(const float *p)
{
    const plumb_vec<float> x = plumb_ldcs16(p);
    return plumb_quad{ { x.v[0], x.v[1], x.v[2], x.v[3] } };
}
PLUMB_DEVICE void plumb_st4(float *p, const struct plumb_quad *q)
{
    plumb_vec<float> x;
    PLUMB_UNROLL for (int k = 0; k < 4; k++) x.v[k] = q->v[k];
    plumb_st16(p, x);
}

/* The bits of a quad, to be widened later: loads under a condition, as of what is left of a row,
 * then do not wait for each other. */
template <class T> struct plumb_quad_bits {
    unsigned long long u;
};
template <> struct plumb_quad_bits<float> {
    plumb_vec<float> u;
};
template <class T> PLUMB_DEVICE struct plumb_quad_bits<T> plumb_ldcs4_bits(const T *p) {
    return { __ldcs(reinterpret_cast<const unsigned long long *>(p)) };
} PLUMB_DEVICE struct plumb_quad_bits<float> plumb_ldcs4_bits(const float *p) {
    return { plumb_ldcs16(p) };
} template <class T> PLUMB_DEVICE struct plumb_quad plumb_quad_wide(struct plumb_quad_bits<T> b)
{
    return plumb_quad_of<T>(b.u);
}
PLUMB_DEVICE struct plumb_quad plumb_quad_wide(struct plumb_quad_bits<float> b)
{
    return plumb_quad{ { b.u.v[0], b.u.v[1], b.u.v[2], b.u.v[3] } };
}

/* The first min(4, left) elements from p on, as one access if `whole`; 0 for the rest. */
template <class T>
PLUMB_DEVICE struct plumb_quad plumb_quad_load(const T *p, bool whole, int64_t left)
{
    if (whole && left >= 4) return plumb_ld4(p);
    struct plumb_quad q = {};
    PLUMB_UNROLL for (int k = 0; k < 4; k++) if (k < left) q.v[k] = plumb_wide(p[k]);
    return q;
}
template <class T>
PLUMB_DEVICE struct plumb_quad plumb_quad_stream(const T *p, bool whole, int64_t left)
{
    return whole && left >= 4 ? plumb_ldcs4(p) : plumb_quad_load(p, false, left);
}
template <class T>
PLUMB_DEVICE void plumb_quad_store(T *p, const struct plumb_quad *q, bool whole, int64_t left)
{
    if (whole && left >= 4) {
        plumb_st4(p, q);
        return;
    }
    PLUMB_UNROLL for (int k = 0; k < 4; k++) if (k < left) plumb_narrow(&p[k], q->v[k]);
}

/* Whether rows `ld` elements apart from p on start at whole quads. */
template <class T> static inline bool plumb_quads(const T *p, int64_t ld)
{
    return reinterpret_cast<uintptr_t>(p) % (4 * sizeof(T)) == 0 && ld % 4 == 0;
}
