/* 16-bit floating point for the CPU executor: one template, whose formats are cuda_bf16.h and
 * cuda_fp16.h. As on the GPU, + - * / and fma round once, to nearest even: they are done in f64,
 * which holds every product exactly. */
#pragma once
#include <cuda_runtime.h>
#include <math.h>
#include <string.h>

template <class To, class From> inline To plumb_bits(From x)
{
    static_assert(sizeof(To) == sizeof(From), "sizes differ");
    To t;
    memcpy((void *)&t, (const void *)&x, sizeof t);
    return t;
}

/* f64 to f32 so that a second rounding to fewer bits gives what one rounding would have: an inexact
 * result is cut off and its last bit set. */
inline float plumb_to_f32_odd(double x)
{
    const float f = (float)x;
    if ((double)f == x || x != x) return f;
    uint32_t u = plumb_bits<uint32_t>(f);
    if (fabs((double)f) > fabs(x)) u--;
    return plumb_bits<float>(u | 1);
}

template <class F> struct plumb_float16 {
    uint16_t bits;
    plumb_float16() = default;
    plumb_float16(float x) : bits(F::from_f32(x)) {}
    plumb_float16(double x) : bits(F::from_f32(plumb_to_f32_odd(x))) {}
    plumb_float16(int x) : plumb_float16((double)x) {}
    operator float() const { return F::to_f32(bits); }
    double wide() const { return (double)F::to_f32(bits); }
    plumb_float16 operator-() const { return of_bits((uint16_t)(bits ^ 0x8000)); }
    static plumb_float16 of_bits(uint16_t b)
    {
        plumb_float16 n;
        n.bits = b;
        return n;
    }
    friend plumb_float16 operator+(plumb_float16 a, plumb_float16 b) { return a.wide() + b.wide(); }
    friend plumb_float16 operator-(plumb_float16 a, plumb_float16 b) { return a.wide() - b.wide(); }
    friend plumb_float16 operator*(plumb_float16 a, plumb_float16 b) { return a.wide() * b.wide(); }
    friend plumb_float16 operator/(plumb_float16 a, plumb_float16 b) { return a.wide() / b.wide(); }
    plumb_float16 &operator+=(plumb_float16 b) { return *this = *this + b; }
    plumb_float16 &operator-=(plumb_float16 b) { return *this = *this - b; }
    plumb_float16 &operator*=(plumb_float16 b) { return *this = *this * b; }
    friend bool operator==(plumb_float16 a, plumb_float16 b) { return a.wide() == b.wide(); }
    friend bool operator!=(plumb_float16 a, plumb_float16 b) { return a.wide() != b.wide(); }
    friend bool operator<(plumb_float16 a, plumb_float16 b) { return a.wide() < b.wide(); }
    friend bool operator>(plumb_float16 a, plumb_float16 b) { return a.wide() > b.wide(); }
    friend bool operator<=(plumb_float16 a, plumb_float16 b) { return a.wide() <= b.wide(); }
    friend bool operator>=(plumb_float16 a, plumb_float16 b) { return a.wide() >= b.wide(); }
};
template <class F> struct alignas(4) plumb_float16x2 {
    plumb_float16<F> x, y;
};

template <class F> inline plumb_float16<F> __hadd(plumb_float16<F> a, plumb_float16<F> b)
{
    return a + b;
}
template <class F> inline plumb_float16<F> __hsub(plumb_float16<F> a, plumb_float16<F> b)
{
    return a - b;
}
template <class F> inline plumb_float16<F> __hmul(plumb_float16<F> a, plumb_float16<F> b)
{
    return a * b;
}
template <class F> inline plumb_float16<F> __hdiv(plumb_float16<F> a, plumb_float16<F> b)
{
    return a / b;
}
template <class F> inline plumb_float16<F> __hneg(plumb_float16<F> a) { return -a; }
template <class F> inline plumb_float16<F> __habs(plumb_float16<F> a)
{
    return plumb_float16<F>::of_bits(a.bits & 0x7fff);
}
template <class F>
inline plumb_float16<F> __hfma(plumb_float16<F> a, plumb_float16<F> b, plumb_float16<F> c)
{
    return fma(a.wide(), b.wide(), c.wide());
}
/* The number where one of the two is NaN, as on the GPU. */
template <class F> inline plumb_float16<F> __hmax(plumb_float16<F> a, plumb_float16<F> b)
{
    return fmax(a.wide(), b.wide());
}
template <class F> inline plumb_float16<F> __hmin(plumb_float16<F> a, plumb_float16<F> b)
{
    return fmin(a.wide(), b.wide());
}
template <class F> inline bool __hisnan(plumb_float16<F> a) { return a != a; }
template <class F> inline bool __heq(plumb_float16<F> a, plumb_float16<F> b) { return a == b; }
template <class F> inline bool __hlt(plumb_float16<F> a, plumb_float16<F> b) { return a < b; }
template <class F> inline bool __hgt(plumb_float16<F> a, plumb_float16<F> b) { return a > b; }
template <class F> inline plumb_float16x2<F> __hadd2(plumb_float16x2<F> a, plumb_float16x2<F> b)
{
    return { a.x + b.x, a.y + b.y };
}
template <class F> inline plumb_float16x2<F> __hsub2(plumb_float16x2<F> a, plumb_float16x2<F> b)
{
    return { a.x - b.x, a.y - b.y };
}
template <class F> inline plumb_float16x2<F> __hmul2(plumb_float16x2<F> a, plumb_float16x2<F> b)
{
    return { a.x * b.x, a.y * b.y };
}
template <class F>
inline plumb_float16x2<F> __hfma2(plumb_float16x2<F> a, plumb_float16x2<F> b, plumb_float16x2<F> c)
{
    return { __hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y) };
}
template <class F> inline float __low2float(plumb_float16x2<F> v) { return v.x; }
template <class F> inline float __high2float(plumb_float16x2<F> v) { return v.y; }
