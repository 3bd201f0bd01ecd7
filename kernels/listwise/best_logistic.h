/* Sum over the candidates j below the best label of -log s(s_best - s_j), for each of the best. */
#pragma once
#include "kernels/listwise/list.h"

PLUMB_HD void plumb_list_best_logistic(const struct plumb_list *l, int64_t i,
                                       struct plumb_list_share *r)
{
    plumb_real most = l->label[i];
    PLUMB_LIST_EACH(l, j) { most = plumb_max(most, l->label[j]); }
    const bool best = !(l->label[i] < most);
    PLUMB_LIST_EACH(l, j)
    {
        const plumb_real d = plumb_list_gap(l, i, j);
        if (best && l->label[j] < most) {
            r->loss += (double)plumb_softplus(-d);
            r->ds -= (double)plumb_sigmoid(-d);
        } else if (!best && !(l->label[j] < most)) {
            r->ds += (double)plumb_sigmoid(d);
        }
    }
}
