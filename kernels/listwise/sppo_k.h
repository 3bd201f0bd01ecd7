/* (s_i - (label_i - 1/2) / label_temperature)^2 / count: label_i is a probability of winning, s_i a
 * log-ratio, label_temperature the paper's 1 / eta. */
#pragma once
#include "kernels/listwise/list.h"

PLUMB_HD void plumb_list_sppo_k(const struct plumb_list *l, int64_t i, struct plumb_list_share *r)
{
    const plumb_real target = (l->label[i] - PLUMB_R(0.5)) / l->label_temperature;
    const plumb_real e = plumb_finite(l->score[i] - target);
    r->loss += (double)plumb_finite(e * e) / (double)l->count;
    r->ds += 2 * (double)e / (double)l->count;
}
