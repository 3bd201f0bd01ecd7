/* What oracle, native and device code of the moments share: how an array is cut, how two sets are
 * merged, what whitening makes of one number. */
#pragma once
#include <plumb/whiten.h>

#include "kernels/scalar.h"

enum { PLUMB_MOMENTS_CHUNK = 4096 };

struct plumb_moment_set {
    double count, mean, squares, filled; /* in the order of the contract */
};

PLUMB_HD struct plumb_moment_set plumb_moments_join(const struct plumb_moment_set *a,
                                                    const struct plumb_moment_set *b)
{
    if (b->count == 0) return *a;
    if (a->count == 0) return *b;
    const double n = a->count + b->count, step = b->mean - a->mean, share = b->count / n;
    const struct plumb_moment_set joined = { n, a->mean + step * share,
                                             a->squares + b->squares +
                                                 step * step * a->count * share,
                                             a->filled + b->filled };
    return joined;
}

struct plumb_whiten_scale {
    double mean, factor, limit, shift;
};

PLUMB_HD struct plumb_whiten_scale plumb_whiten_scale(const struct plumb_whiten *a,
                                                      const struct plumb_moment_set *m)
{
    const double n = a->population ? m->count : m->count - 1;
    const double plain = n > 0 ? m->squares / n : 0;
    const double var = plain < a->least_variance ? a->least_variance : plain;
    const double divisor = sqrt(var + a->root_epsilon) + a->epsilon;
    const struct plumb_whiten_scale s = { m->mean, divisor == 0 ? 0 : 1 / divisor, a->limit,
                                          a->keep_mean ? m->mean : 0 };
    return s;
}

PLUMB_HD double plumb_whitened(double x, const struct plumb_whiten_scale *s)
{
    double y = (x - s->mean) * s->factor;
    if (s->limit > 0 && y > s->limit) y = s->limit;
    if (s->limit > 0 && y < -s->limit) y = -s->limit;
    return y + s->shift;
}
