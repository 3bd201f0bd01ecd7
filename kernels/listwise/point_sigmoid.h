/* Binary cross entropy of label_i, in [0, 1], with logit s_i. */
#pragma once
#include "kernels/listwise/list.h"

PLUMB_HD void plumb_list_point_sigmoid(const struct plumb_list *l, int64_t i,
                                       struct plumb_list_share *r)
{
    const plumb_real y = l->label[i], s = l->score[i];
    r->loss += (double)plumb_finite(y * plumb_softplus(-s) + (1 - y) * plumb_softplus(s));
    r->ds += (double)plumb_finite((1 - y) * plumb_sigmoid(s) - y * plumb_sigmoid(-s));
}
