/* -p_i log s(s_i) - log s(-s_i) / count, p = soft-max(labels / label_temperature). */
#pragma once
#include "kernels/listwise/list.h"

PLUMB_HD void plumb_list_nca(const struct plumb_list *l, int64_t i, struct plumb_list_share *r)
{
    const plumb_real p = plumb_sigmoid(-plumb_list_other_labels(l, i)), s = l->score[i];
    const plumb_real part = 1 / PLUMB_R(l->count);
    r->loss += (double)(p * plumb_softplus(-s) + part * plumb_softplus(s));
    r->ds += (double)(part * plumb_sigmoid(s) - p * plumb_sigmoid(-s));
}
