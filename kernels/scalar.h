/* The language of scalar formulas: `plumb_real` is double in the oracles (define PLUMB_REAL_F64
 * before including) and float in the CPU and CUDA shells. Overflow and cancellation are handled
 * here, once. */
#pragma once
#include <float.h>
#include <math.h>
#include <plumb/base.h>

#ifdef __CUDACC__
#define PLUMB_HD static __host__ __device__ inline
#else
#define PLUMB_HD static inline
#endif

#ifdef PLUMB_REAL_F64
typedef double plumb_real;
#define PLUMB_MATH(name) name
#define PLUMB_REAL_MAX DBL_MAX
#else
typedef float plumb_real;
#define PLUMB_MATH(name) name##f
#define PLUMB_REAL_MAX FLT_MAX
#endif
#define PLUMB_R(x) ((plumb_real)(x))

PLUMB_HD plumb_real plumb_abs(plumb_real x) { return x < 0 ? -x : x; }
PLUMB_HD plumb_real plumb_max(plumb_real a, plumb_real b) { return a > b ? a : b; }
PLUMB_HD plumb_real plumb_min(plumb_real a, plumb_real b) { return a < b ? a : b; }
PLUMB_HD plumb_real plumb_exp(plumb_real x) { return PLUMB_MATH(exp)(x); }
PLUMB_HD plumb_real plumb_log(plumb_real x) { return PLUMB_MATH(log)(x); }
PLUMB_HD plumb_real plumb_expm1(plumb_real x) { return PLUMB_MATH(expm1)(x); }
PLUMB_HD plumb_real plumb_log1p(plumb_real x) { return PLUMB_MATH(log1p)(x); }
/* Infinities to the largest number; NaN stays NaN. */
PLUMB_HD plumb_real plumb_finite(plumb_real x)
{
    return x > PLUMB_REAL_MAX ? PLUMB_REAL_MAX : x < -PLUMB_REAL_MAX ? -PLUMB_REAL_MAX : x;
}
/* A finite x that plumb_real cannot hold becomes its largest number; infinities and NaN stay. */
PLUMB_HD plumb_real plumb_saturate(double x)
{
    const double most = (double)PLUMB_REAL_MAX;
    if (x > most && x <= DBL_MAX) return PLUMB_REAL_MAX;
    return x < -most && x >= -DBL_MAX ? -PLUMB_REAL_MAX : (plumb_real)x;
}
/* The same for what is stored, whatever plumb_real is. */
PLUMB_HD float plumb_saturate_f32(double x)
{
    const double most = (double)FLT_MAX;
    if (x > most && x <= DBL_MAX) return FLT_MAX;
    return x < -most && x >= -DBL_MAX ? -FLT_MAX : (float)x;
}
/* 1 / (1 + e^-x) without overflow. */
PLUMB_HD plumb_real plumb_sigmoid(plumb_real x)
{
    const plumb_real e = plumb_exp(-plumb_abs(x));
    return x >= 0 ? 1 / (1 + e) : e / (1 + e);
}
/* ln(1 + e^x) = -log sigmoid(-x), exact at both ends. */
PLUMB_HD plumb_real plumb_softplus(plumb_real x)
{
    return plumb_max(x, 0) + plumb_log1p(plumb_exp(-plumb_abs(x)));
}
PLUMB_HD plumb_real plumb_logsigmoid(plumb_real x) { return -plumb_softplus(-x); }
/* ln(1 - e^x) for x < 0. */
PLUMB_HD plumb_real plumb_log1mexp(plumb_real x)
{
    return x > PLUMB_R(-0.6931471805599453) ? plumb_log(-plumb_expm1(x))
                                            : plumb_log1p(-plumb_exp(x));
}
/* e^x - 1 - x, never below 0: the sum of its series where the difference would cancel. */
PLUMB_HD plumb_real plumb_expm1_less_x(plumb_real x)
{
    const int last = sizeof x > 4 ? 17 : 10; /* power of the last term that counts */
    if (!(plumb_abs(x) < PLUMB_R(0.5))) return plumb_expm1(x) - x;
    plumb_real sum = 1;
    for (int k = last; k > 2; k--)
        sum = 1 + sum * x * (1 / (plumb_real)k);
    return sum * x * x / 2;
}
/* x e^y, which overflows only where the product does: with half of e^y at a time. */
PLUMB_HD plumb_real plumb_times_exp(plumb_real x, plumb_real y)
{
    const plumb_real half = plumb_finite(plumb_exp(y / 2));
    return plumb_finite(x) * half * half;
}
