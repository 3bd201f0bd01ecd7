/* Native conversion between float dtypes: one pass in blocks, in f32, or in f64 where either
 * side is f64. Compiled once per instruction set. */
#include <plumb/optim.h>

#include "kernels/op.h"
#include "kernels/simd.h"

enum { BLOCK = 1 << 14 }; /* elements a thread takes at a time */

/* x in f32, rounded to odd: cut off, with the last bit set if anything was lost. Rounding that to a
 * format two bits shorter or more then equals rounding x itself. */
static inline float to_odd(double x)
{
    const float f = (float)x;
    const double back = (double)f;
    const double size = x < 0 ? -x : x, rounded = back < 0 ? -back : back;
    uint32_t u = plumb_bits_of_f32(f);
    u -= rounded > size ? 1u : 0u;
    u |= rounded != size ? 1u : 0u;
    return x != x ? f : plumb_f32_of_bits(u);
}

static inline float load(const void *p, enum plumb_dtype t, int64_t i)
{
    if (t == PLUMB_F16) return plumb_f16_to_f32(((const uint16_t *)p)[i]);
    return plumb_load(p, t == PLUMB_BF16, i);
}

static inline void store(void *p, enum plumb_dtype t, int64_t i, float v)
{
    if (t == PLUMB_F16)
        ((uint16_t *)p)[i] = plumb_f32_to_f16(v);
    else
        plumb_store(p, t == PLUMB_BF16, i, v);
}

static inline double load_wide(const void *p, enum plumb_dtype t, int64_t i)
{
    return t == PLUMB_F64 ? ((const double *)p)[i] : (double)load(p, t, i);
}

static inline void store_wide(void *p, enum plumb_dtype t, int64_t i, double v)
{
    if (t == PLUMB_F64)
        ((double *)p)[i] = v;
    else
        store(p, t, i, t == PLUMB_F32 ? (float)v : to_odd(v));
}

/* Elements [from, to); the dtypes and `add` are constants after inlining. */
static inline __attribute__((always_inline)) void span(const struct plumb_cast *a, int64_t from,
                                                       int64_t to, enum plumb_dtype tx,
                                                       enum plumb_dtype ty, bool add)
{
    const void *x = a->x.data;
    void *y = a->y.data;
    if (tx == PLUMB_F64 || ty == PLUMB_F64) {
#pragma omp simd
        for (int64_t i = from; i < to; i++)
            store_wide(y, ty, i,
                       add ? load_wide(y, ty, i) + load_wide(x, tx, i) : load_wide(x, tx, i));
        return;
    }
#pragma omp simd
    for (int64_t i = from; i < to; i++)
        store(y, ty, i, add ? load(y, ty, i) + load(x, tx, i) : load(x, tx, i));
}

#define SPAN_TO(tx, ty)                                                                            \
    case ty:                                                                                       \
        if (a->accumulate)                                                                         \
            span(a, from, to, tx, ty, true);                                                       \
        else                                                                                       \
            span(a, from, to, tx, ty, false);                                                      \
        return
#define SPAN_FROM(tx)                                                                              \
    static void span_##tx(const struct plumb_cast *a, int64_t from, int64_t to)                    \
    {                                                                                              \
        switch (a->y.dtype) {                                                                      \
            SPAN_TO(tx, PLUMB_F64);                                                                \
            SPAN_TO(tx, PLUMB_F32);                                                                \
            SPAN_TO(tx, PLUMB_BF16);                                                               \
            SPAN_TO(tx, PLUMB_F16);                                                                \
        default: PLUMB_ASSERT(!"a dtype that the checks refuse");                                  \
        }                                                                                          \
    }
SPAN_FROM(PLUMB_F64)
SPAN_FROM(PLUMB_F32)
SPAN_FROM(PLUMB_BF16)
SPAN_FROM(PLUMB_F16)

int PLUMB_CPU_FN(plumb_cast_cpu)(const struct plumb_cast *a)
{
    void (*const run)(const struct plumb_cast *, int64_t,
                      int64_t) = a->x.dtype == PLUMB_F64    ? span_PLUMB_F64
                                 : a->x.dtype == PLUMB_F32  ? span_PLUMB_F32
                                 : a->x.dtype == PLUMB_BF16 ? span_PLUMB_BF16
                                                            : span_PLUMB_F16;
#pragma omp parallel for schedule(static) if (a->count > BLOCK)
    for (int64_t from = 0; from < a->count; from += BLOCK)
        run(a, from, a->count - from < BLOCK ? a->count : from + BLOCK);
    return PLUMB_OK;
}
