/* (label_i - s_i)^2. */
#pragma once
#include "kernels/listwise/list.h"

PLUMB_HD void plumb_list_point_mse(const struct plumb_list *l, int64_t i,
                                   struct plumb_list_share *r)
{
    const plumb_real e = l->score[i] - l->label[i];
    r->loss += (double)plumb_finite(e * e);
    r->ds += 2 * (double)plumb_finite(e);
}
