/* Plackett-Luce likelihood of the order of the labels: sum over the first top_k stages (0 = all) of
 * -log of the soft-max of the stage's candidate among itself and all behind it. key: that -log. */
#pragma once
#include "kernels/listwise/list.h"

PLUMB_HD plumb_real plumb_list_list_mle_key(const struct plumb_list *l, int64_t i)
{
    struct plumb_lse a = plumb_lse_none();
    PLUMB_LIST_EACH(l, j)
    {
        if (l->place[j] > l->place[i]) plumb_lse_add(&a, plumb_list_gap(l, j, i));
    }
    return plumb_softplus(plumb_lse_value(&a));
}

PLUMB_HD void plumb_list_list_mle(const struct plumb_list *l, int64_t i, struct plumb_list_share *r)
{
    const int64_t stages = l->top_k > 0 ? l->top_k : l->count;
    if (l->place[i] < stages) {
        r->loss += (double)l->key[i];
        r->ds += (double)plumb_expm1(-l->key[i]);
    }
    PLUMB_LIST_EACH(l, j)
    {
        if (l->place[j] < l->place[i] && l->place[j] < stages)
            r->ds += (double)plumb_exp(plumb_list_gap(l, i, j) - l->key[j]);
    }
}
