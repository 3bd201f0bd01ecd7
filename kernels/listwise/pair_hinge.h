/* Sum over pairs with label_i > label_j of max(0, margin - (s_i - s_j)). */
#pragma once
#include "kernels/listwise/list.h"

PLUMB_HD void plumb_list_pair_hinge(const struct plumb_list *l, int64_t i,
                                    struct plumb_list_share *r)
{
    PLUMB_LIST_EACH(l, j)
    {
        const plumb_real d = plumb_list_gap(l, i, j);
        if (l->label[i] > l->label[j] && l->margin > d) {
            r->loss += (double)plumb_finite(l->margin - d);
            r->ds -= 1;
        } else if (l->label[i] < l->label[j] && l->margin > -d) {
            r->ds += 1;
        }
    }
}
