/* Sum over pairs with label_i > label_j of -log s(s_i - s_j). */
#pragma once
#include "kernels/listwise/list.h"

PLUMB_HD void plumb_list_pair_logistic(const struct plumb_list *l, int64_t i,
                                       struct plumb_list_share *r)
{
    PLUMB_LIST_EACH(l, j)
    {
        const plumb_real d = plumb_list_gap(l, i, j);
        if (l->label[i] > l->label[j]) {
            r->loss += (double)plumb_softplus(-d);
            r->ds -= (double)plumb_sigmoid(-d);
        } else if (l->label[i] < l->label[j]) {
            r->ds += (double)plumb_sigmoid(d);
        }
    }
}
