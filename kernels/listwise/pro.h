/* Stage k, in the order of the labels, contrasts candidate k with all behind it: -log of the
 * soft-max of s_k a_k among itself and the s_i (y_k - y_i), a_k = y_k - least label. No stage for
 * the last one. The likelihood of the best counts (count - 1)^2 times. key: a stage's -log. */
#pragma once
#include "kernels/listwise/list.h"

PLUMB_HD plumb_real plumb_list_least_label(const struct plumb_list *l)
{
    plumb_real least = PLUMB_REAL_MAX;
    PLUMB_LIST_EACH(l, j) { least = plumb_min(least, l->label[j]); }
    return least;
}

/* The logit of candidate i behind k over that of k itself, at stage k. */
PLUMB_HD plumb_real plumb_list_pro_logit(const struct plumb_list *l, int64_t k, int64_t i,
                                         plumb_real least)
{
    return plumb_finite(plumb_finite(l->score[i] * plumb_list_label_gap(l, k, i)) -
                        plumb_finite(l->score[k] * plumb_finite(l->label[k] - least)));
}

PLUMB_HD plumb_real plumb_list_pro_key(const struct plumb_list *l, int64_t i)
{
    const plumb_real least = plumb_list_least_label(l);
    struct plumb_lse a = plumb_lse_none();
    PLUMB_LIST_EACH(l, j)
    {
        if (l->place[j] > l->place[i]) plumb_lse_add(&a, plumb_list_pro_logit(l, i, j, least));
    }
    return plumb_softplus(plumb_lse_value(&a));
}

PLUMB_HD void plumb_list_pro(const struct plumb_list *l, int64_t i, struct plumb_list_share *r)
{
    const plumb_real least = plumb_list_least_label(l);
    r->nll *= (double)(l->count - 1) * (double)(l->count - 1);
    r->loss += (double)l->key[i];
    r->ds += (double)plumb_finite(plumb_finite(l->label[i] - least) * plumb_expm1(-l->key[i]));
    PLUMB_LIST_EACH(l, k)
    {
        if (l->place[k] < l->place[i])
            r->ds += (double)plumb_finite(
                plumb_list_label_gap(l, k, i) *
                plumb_exp(plumb_list_pro_logit(l, k, i, least) - l->key[k]));
    }
}
