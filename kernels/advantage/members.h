/* From the statistics of a group, in f64, to what a formula sees of one response: what oracle,
 * native and device code share. */
#pragma once
#include <plumb/advantage.h>
#include <plumb/whiten.h>

#include "kernels/advantage/member.h"

struct plumb_group {
    double n, mean, squares;  /* squares: sum of squared distances from the mean */
    double weights, weighted; /* sums of weights and of weight times reward */
    double top, second;       /* largest rewards, equal where the best is not alone */
};

struct plumb_group_batch {
    double deviation, per_filled, epsilon;
    bool keep_single;
};

PLUMB_HD double plumb_spread(double squares, double n)
{
    return n > 1 ? sqrt(squares / (n - 1)) : 0;
}

/* `m` = the moments of all rewards, or NULL. */
PLUMB_HD struct plumb_group_batch plumb_group_batch(const struct plumb_advantage *a,
                                                    const double *m)
{
    const struct plumb_group_batch b = { m ? plumb_spread(m[2], m[0]) : 0,
                                         m && m[3] > 0 ? m[0] / m[3] : 0, a->epsilon,
                                         a->keep_single };
    return b;
}

/* Adds a reward to the largest two. */
PLUMB_HD void plumb_group_top(struct plumb_group *g, double reward)
{
    if (reward > g->top)
        g->second = g->top, g->top = reward;
    else if (reward > g->second)
        g->second = reward;
}

PLUMB_HD struct plumb_member plumb_member_of(const struct plumb_group *g,
                                             const struct plumb_group_batch *b, double reward)
{
    const double epsilon = b->epsilon, spread = plumb_spread(g->squares, g->n);
    const double centred = reward - g->mean, behind = reward == g->top ? g->second : reward;
    const double weighted = g->weights == 0 ? 0 : g->weighted / g->weights;
    struct plumb_member p = { .centred = plumb_saturate(centred),
                              .off_others = plumb_saturate(centred * g->n / (g->n - 1)),
                              .off_weighted = plumb_saturate(reward - weighted),
                              .ahead = plumb_saturate(reward - behind + 0 * g->mean),
                              .deviation = plumb_saturate(spread),
                              .batch_deviation = plumb_saturate(b->deviation),
                              .batch_per_filled = plumb_saturate(b->per_filled),
                              .epsilon = plumb_saturate(epsilon) };
    if (g->n > 1) return p;
    const double alone = b->keep_single ? reward : 0 * reward;
    p.centred = p.off_others = p.off_weighted = p.ahead = plumb_saturate(alone);
    p.deviation = b->keep_single ? 1 : 0;
    return p;
}

/* The advantage of a row of verdicts from its sum and the matrix's sum of squares. */
PLUMB_HD double plumb_verdict(const struct plumb_verdicts *a, double sum, double squares, double K)
{
    if (K <= 1) return 0;
    if (a->win_rate) return sum / (K - 1);
    const double divisor = sqrt(squares / (2 * K * (K - 1)) + a->epsilon);
    return divisor == 0 ? 0 : sum / K / divisor;
}
