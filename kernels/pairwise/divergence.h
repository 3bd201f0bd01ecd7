/* The links of f-divergences: h(u) and its slope, in f64. What overflows stops at 1e150, so that a
 * product of two is still a number. */
#pragma once
#include <plumb/pairwise.h>

#include "kernels/scalar.h"

/* Losses of a difference of two log-ratios alone: only there the partition function cancels. */
PLUMB_HD bool plumb_pair_takes_divergence(int id)
{
    switch (id) {
    case PLUMB_PAIR_SIGMOID:
    case PLUMB_PAIR_HINGE:
    case PLUMB_PAIR_IPO:
    case PLUMB_PAIR_ROBUST:
    case PLUMB_PAIR_EXO_PAIR:
    case PLUMB_PAIR_DISCOPOP:
    case PLUMB_PAIR_SIGMOID_NORM:
    case PLUMB_PAIR_SIGMOID_CLIPPED: return true;
    default: return false;
    }
}

struct plumb_link {
    double h, slope;
};

PLUMB_HD double plumb_link_bounded(double x) { return x > 1e150 ? 1e150 : x < -1e150 ? -1e150 : x; }

PLUMB_HD struct plumb_link plumb_link_of(enum plumb_f_divergence f, double a, double u)
{
    const double most = 80;
    struct plumb_link l = { u, 1 };
    if (f == PLUMB_F_FORWARD_KL) {
        l.h = -plumb_link_bounded(expm1(-u));
        l.slope = plumb_link_bounded(exp(-u));
    } else if (f == PLUMB_F_JS) {
        const double e = exp(u > 0 ? -u : u); /* log s(u) = min(u, 0) - log1p(e) */
        l.h = 0.69314718055994530942 + (u < 0 ? u : 0) - log1p(e);
        l.slope = u > 0 ? e / (1 + e) : 1 / (1 + e);
    } else if (f == PLUMB_F_ALPHA && a != 1) {
        const double x = (a - 1) * u;
        l.h = expm1(x > most ? most : x) / (a - 1);
        l.slope = x > most ? 0 : exp(x);
    } else if (f == PLUMB_F_EXP_LINEAR) {
        l.h = exp(u > most ? most : u) + u;
        l.slope = u > most ? 1 : exp(u) + 1;
    }
    return l;
}
