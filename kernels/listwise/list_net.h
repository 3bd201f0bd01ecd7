/* Cross entropy of soft-max(scores) from soft-max(labels / label_temperature). */
#pragma once
#include "kernels/listwise/list.h"

PLUMB_HD void plumb_list_list_net(const struct plumb_list *l, int64_t i, struct plumb_list_share *r)
{
    const plumb_real z = plumb_list_others(l, i);
    const plumb_real p = plumb_sigmoid(-plumb_list_other_labels(l, i));
    r->loss += (double)(p * plumb_softplus(z));
    r->ds += (double)(plumb_sigmoid(-z) - p);
}
