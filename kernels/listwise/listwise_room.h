/* The workspace of the native code and of the oracle: arrays of C candidates each. */
#pragma once
#include "kernels/listwise/listwise_solve.h"

enum { PLUMB_LIST_WORK = 80 }; /* bytes a candidate, on any device */

struct plumb_list_room {
    struct plumb_list_share *share;
    plumb_real *score, *label, *key;
    int32_t *mask, *place, *rank;
    float *plain; /* 3 a candidate, the yardstick's */
};

static inline struct plumb_list_room plumb_list_room(const struct plumb_listwise *a)
{
    struct plumb_list_room r = { .share = (struct plumb_list_share *)a->work.data };
    r.score = (plumb_real *)(r.share + a->C);
    r.label = r.score + a->C;
    r.key = r.label + a->C;
    r.mask = (int32_t *)(r.key + a->C);
    r.place = r.mask + a->C;
    r.rank = r.place + a->C;
    r.plain = (float *)(r.rank + a->C);
    return r;
}

/* List `at` of the call, its numbers in the room. */
static inline struct plumb_list plumb_list_in(const struct plumb_listwise *a,
                                              const struct plumb_list_room *r, int64_t at)
{
    const int64_t c = a->list[at] - a->first;
    const struct plumb_list l = {
        .K = a->list[at + 1] - a->list[at],
        .score = r->score + c,
        .label = r->label + c,
        .mask = r->mask + c,
        .label_temperature = plumb_saturate(a->label_temperature),
        .margin = plumb_saturate(a->margin),
        .lambda = plumb_saturate(a->lambda),
        .top_k = a->top_k,
    };
    return l;
}
