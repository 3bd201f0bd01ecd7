/* lambda times the sum over pairs with label_i > label_j of max(0, s_j - s_i); equal scores have
 * slope 0. */
#pragma once
#include "kernels/listwise/list.h"

PLUMB_HD void plumb_list_rrhf(const struct plumb_list *l, int64_t i, struct plumb_list_share *r)
{
    PLUMB_LIST_EACH(l, j)
    {
        const plumb_real d = plumb_list_gap(l, i, j);
        if (l->label[i] > l->label[j] && d < 0) {
            r->loss += (double)plumb_finite(l->lambda * -d);
            r->ds -= (double)l->lambda;
        } else if (l->label[i] < l->label[j] && d > 0) {
            r->ds += (double)l->lambda;
        }
    }
}
