/* One list from first to last on one thread: the native code, the oracle and its yardstick. */
#pragma once
#include "kernels/listwise/listwise_shell.h"

struct plumb_list_rows { /* what a list is known for; loss without likelihood term */
    double loss, pairs, correct, top;
};

/* Places, ranks and what they say. False where a number is NaN. */
static inline bool plumb_list_sort(struct plumb_list *l, int32_t *place, int32_t *rank,
                                   struct plumb_list_rows *rows)
{
    bool bad = false;
    PLUMB_LIST_EACH(l, i)
    {
        const struct plumb_list_order o = plumb_list_order(l, i);
        place[i] = o.place, rank[i] = o.rank, l->count = o.count;
        rows->pairs += (double)o.pairs, rows->correct += (double)o.correct;
        if (o.rank == 0 && o.best) rows->top = 1;
        bad = bad || o.bad;
    }
    l->pairs = rows->pairs, l->place = place, l->rank = rank;
    return !bad;
}

/* *l has K, score, label, mask and the options; the arrays are room of K elements. Leaves the
 * candidates' shares; of those that take no part 0. */
static inline struct plumb_list_rows plumb_list_solve(int id, struct plumb_list *l, plumb_real *key,
                                                      int32_t *place, int32_t *rank,
                                                      double sft_weight,
                                                      struct plumb_list_share *share)
{
    struct plumb_list_rows rows = { 0, 0, 0, 0 };
    const struct plumb_list_share none = { 0, 0, 0 }, nan = { NAN, NAN, 0 };
    const bool good = plumb_list_sort(l, place, rank, &rows);
    l->key = key;
    for (int64_t i = 0; i < l->K; i++) {
        share[i] = none;
        if (good && l->mask[i]) key[i] = plumb_list_key(id, l, i);
    }
    PLUMB_LIST_EACH(l, i)
    {
        share[i] = good ? plumb_list_eval(id, l, i, place[i] == 0 ? sft_weight : 0) : nan;
        rows.loss += share[i].loss;
    }
    return rows;
}
