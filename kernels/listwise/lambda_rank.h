/* pair_logistic, a pair weighted by what an exchange of the two in the present order would change
 * of the DCG: abs(G_i - G_j) abs(1/D_i - 1/D_j), G = 2^label - 1, D = ln(1 + rank), rank 1 = the
 * largest score. The weights carry no gradient. D by log2 is the same times ln 2. */
#pragma once
#include "kernels/listwise/list.h"

#define PLUMB_LN_2 PLUMB_R(0.6931471805599453)

/* The weight of a pair, 0 for equal labels. */
PLUMB_HD plumb_real plumb_list_lambda(const struct plumb_list *l, int64_t i, int64_t j)
{
    const plumb_real high = plumb_max(l->label[i], l->label[j]);
    const plumb_real low = plumb_min(l->label[i], l->label[j]);
    const plumb_real first = PLUMB_R(2 + (l->rank[i] < l->rank[j] ? l->rank[i] : l->rank[j]));
    const plumb_real steps = plumb_abs(PLUMB_R(l->rank[i] - l->rank[j]));
    const plumb_real gain = plumb_finite(plumb_exp(high * PLUMB_LN_2)) *
                            -plumb_expm1((low - high) * PLUMB_LN_2);
    return plumb_finite(
        gain * (plumb_log1p(steps / first) / (plumb_log(first) * plumb_log(first + steps))));
}

/* pair_logistic times these weights times scale. */
PLUMB_HD void plumb_list_lambda_pairs(const struct plumb_list *l, int64_t i, plumb_real scale,
                                      struct plumb_list_share *r)
{
    PLUMB_LIST_EACH(l, j)
    {
        if (!(l->label[i] != l->label[j])) continue;
        const plumb_real d = plumb_list_gap(l, i, j);
        const plumb_real weight = plumb_finite(plumb_list_lambda(l, i, j) * scale);
        if (l->label[i] > l->label[j]) {
            r->loss += (double)plumb_finite(weight * plumb_softplus(-d));
            r->ds -= (double)(weight * plumb_sigmoid(-d));
        } else {
            r->ds += (double)(weight * plumb_sigmoid(d));
        }
    }
}

PLUMB_HD void plumb_list_lambda_rank(const struct plumb_list *l, int64_t i,
                                     struct plumb_list_share *r)
{
    plumb_list_lambda_pairs(l, i, 1, r);
}
