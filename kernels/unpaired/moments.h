/* Count, mean and squares about the mean of numbers seen one by one or in parts: no cancellation
 * however far the mean is from 0. */
#pragma once
#include "kernels/scalar.h"

struct plumb_moments { /* the state of plumb_bco_delta */
    double count, mean, squares;
};

PLUMB_HD void plumb_moments_add(struct plumb_moments *m, double x)
{
    const double d = x - m->mean;
    m->count += 1;
    m->mean += d / m->count;
    m->squares += d * (x - m->mean);
}

PLUMB_HD void plumb_moments_join(struct plumb_moments *m, const struct plumb_moments *b)
{
    if (!(b->count > 0)) return;
    const double n = m->count + b->count, d = b->mean - m->mean;
    m->squares += b->squares + d * d * (m->count * b->count / n);
    m->mean += d * (b->count / n);
    m->count = n;
}

PLUMB_HD double plumb_moments_variance(const struct plumb_moments *m)
{
    return m->count > 0 ? m->squares / m->count : 0;
}
