/* -sum of q_i label_i, q = soft-max(scores): minus the expected label, as LIRE is recalled
 * (arXiv:2405.13516). */
#pragma once
#include "kernels/listwise/list.h"

PLUMB_HD void plumb_list_expected_label(const struct plumb_list *l, int64_t i,
                                        struct plumb_list_share *r)
{
    const plumb_real z = plumb_list_others(l, i), q = plumb_sigmoid(-z), all = plumb_softplus(z);
    double mean = 0; /* of label_j - label_i */
    PLUMB_LIST_EACH(l, j)
    {
        mean += (double)plumb_finite(plumb_exp(plumb_list_gap(l, j, i) - all) *
                                     plumb_list_label_gap(l, j, i));
    }
    r->loss -= (double)(q * l->label[i]);
    r->ds += (double)q * mean;
}
