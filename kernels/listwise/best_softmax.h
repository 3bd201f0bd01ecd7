/* -log of the soft-max's share of the best candidate; of several with the best label, of them
 * together. */
#pragma once
#include "kernels/listwise/list.h"

PLUMB_HD void plumb_list_best_softmax(const struct plumb_list *l, int64_t i,
                                      struct plumb_list_share *r)
{
    plumb_real most = l->label[i];
    PLUMB_LIST_EACH(l, j) { most = plumb_max(most, l->label[j]); }
    struct plumb_lse best = plumb_lse_none(), rest = plumb_lse_none();
    PLUMB_LIST_EACH(l, j)
    {
        const plumb_real d = plumb_list_gap(l, j, i);
        if (l->label[j] < most)
            plumb_lse_add(&rest, d);
        else
            plumb_lse_add(&best, d);
    }
    const plumb_real b = plumb_lse_value(&best), o = plumb_lse_value(&rest);
    const plumb_real z = plumb_finite(o - b); /* log of the rest's odds */
    if (l->place[i] == 0) r->loss += (double)plumb_softplus(z);
    if (l->label[i] < most)
        r->ds += (double)(plumb_exp(-o) * plumb_sigmoid(z));
    else
        r->ds -= (double)(plumb_exp(-b) * plumb_sigmoid(z));
}
