/* lambda_rank over the list's ideal DCG, sum of G / D in the order of the labels (at least 1e-10);
 * the base of D's logarithm cancels. */
#pragma once
#include "kernels/listwise/lambda_rank.h"

PLUMB_HD void plumb_list_lambda_ndcg(const struct plumb_list *l, int64_t i,
                                     struct plumb_list_share *r)
{
    double ideal = 0;
    PLUMB_LIST_EACH(l, j)
    {
        ideal += (double)plumb_finite(plumb_expm1(l->label[j] * PLUMB_LN_2)) /
                 (double)plumb_log(PLUMB_R(2 + l->place[j]));
    }
    plumb_list_lambda_pairs(l, i, 1 / plumb_saturate(ideal > 1e-10 ? ideal : 1e-10), r);
}
