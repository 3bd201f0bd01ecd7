/* Cross entropy of soft-max(scores) from labels / sum of labels; 0 where that sum is 0. Labels are
 * at least 0. */
#pragma once
#include "kernels/listwise/list.h"

PLUMB_HD void plumb_list_list_net_ratio(const struct plumb_list *l, int64_t i,
                                        struct plumb_list_share *r)
{
    double sum = 0;
    PLUMB_LIST_EACH(l, j) { sum += (double)l->label[j]; }
    if (!(sum != 0)) return;
    const plumb_real z = plumb_list_others(l, i);
    const plumb_real p = plumb_saturate((double)l->label[i] / sum);
    r->loss += (double)plumb_finite(p * plumb_softplus(z));
    r->ds += (double)(plumb_sigmoid(-z) - p);
}
