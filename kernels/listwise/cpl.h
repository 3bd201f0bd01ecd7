/* Mean over the list's pairs with label_i > label_j of softplus(lambda s_j - s_i): lambda below 1
 * is the conservative bias. */
#pragma once
#include "kernels/listwise/list.h"

PLUMB_HD void plumb_list_cpl(const struct plumb_list *l, int64_t i, struct plumb_list_share *r)
{
    if (!(l->pairs > 0)) return;
    double loss = 0, ds = 0;
    PLUMB_LIST_EACH(l, j)
    {
        if (l->label[i] > l->label[j]) {
            const plumb_real z = plumb_finite(l->lambda * l->score[j] - l->score[i]);
            loss += (double)plumb_softplus(z);
            ds -= (double)plumb_sigmoid(z);
        } else if (l->label[i] < l->label[j]) {
            const plumb_real z = plumb_finite(l->lambda * l->score[i] - l->score[j]);
            ds += (double)(l->lambda * plumb_sigmoid(z));
        }
    }
    r->loss += loss / l->pairs;
    r->ds += ds / l->pairs;
}
