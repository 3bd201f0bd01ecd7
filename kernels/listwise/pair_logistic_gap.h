/* Sum over pairs with label_i > label_j of -(label_i - label_j) log s(s_i - s_j). */
#pragma once
#include "kernels/listwise/list.h"

PLUMB_HD void plumb_list_pair_logistic_gap(const struct plumb_list *l, int64_t i,
                                           struct plumb_list_share *r)
{
    PLUMB_LIST_EACH(l, j)
    {
        const plumb_real d = plumb_list_gap(l, i, j);
        const plumb_real gap = plumb_abs(plumb_list_label_gap(l, i, j));
        if (l->label[i] > l->label[j]) {
            r->loss += (double)plumb_finite(gap * plumb_softplus(-d));
            r->ds -= (double)(gap * plumb_sigmoid(-d));
        } else {
            r->ds += (double)(gap * plumb_sigmoid(d));
        }
    }
}
