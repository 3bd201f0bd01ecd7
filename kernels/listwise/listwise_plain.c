/* The listwise formulas in plain f32: the oracle's yardstick. */
#include "kernels/listwise/listwise_plain.h"

#include "kernels/listwise/listwise_solve.h"

void plumb_list_plain(int id, const struct plumb_list_plain *p)
{
    float *score = p->room, *label = score + p->K, *key = label + p->K;
    for (int64_t i = 0; i < p->K; i++) {
        score[i] = plumb_finite(plumb_saturate(p->score[i]));
        label[i] = plumb_finite(plumb_saturate(p->label[i]));
    }
    struct plumb_list l = {
        .K = p->K,
        .score = score,
        .label = label,
        .mask = p->mask,
        .label_temperature = plumb_saturate(p->label_temperature),
        .margin = plumb_saturate(p->margin),
        .lambda = plumb_saturate(p->lambda),
        .top_k = p->top_k,
    };
    *(struct plumb_list_rows *)p->rows = plumb_list_solve(
        id, &l, key, p->place, p->rank, p->sft_weight, (struct plumb_list_share *)p->share);
}
