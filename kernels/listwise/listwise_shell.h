/* What the ways to run a list share: the order of its candidates, and from a formula's derivative
 * to that of an input. */
#pragma once
#include "kernels/listwise/listwise_eval.h"

#include <plumb/listwise.h>

struct plumb_list_order { /* what one candidate knows of its list */
    int32_t place, rank;  /* candidates before it by label and by score */
    int32_t pairs;        /* candidates of a lower label */
    int32_t correct;      /* of these, those of a lower score */
    int32_t count;        /* candidates that take part */
    bool best;            /* none has a higher label */
    bool bad;             /* some number is NaN */
};

/* Candidate i of a list whose place, rank, count and pairs are not known yet. */
PLUMB_HD struct plumb_list_order plumb_list_order(const struct plumb_list *l, int64_t i)
{
    struct plumb_list_order o = { 0, 0, 0, 0, 0, true, false };
    const plumb_real s = l->score[i], y = l->label[i];
    PLUMB_LIST_EACH(l, j)
    {
        const plumb_real sj = l->score[j], yj = l->label[j];
        o.count++;
        o.place += yj > y || (yj == y && j < i);
        o.rank += sj > s || (sj == s && j < i);
        o.pairs += yj < y;
        o.correct += yj < y && sj < s;
        if (yj > y) o.best = false;
        if (sj != sj || yj != yj) o.bad = true;
    }
    return o;
}

/* tokens^penalty; an empty completion counts 1. */
PLUMB_HD double plumb_list_length(int64_t tokens, double penalty)
{
    const double n = tokens > 1 ? (double)tokens : 1;
    if (penalty > 0) return penalty < 1 || penalty > 1 ? exp(penalty * log(n)) : n;
    return 1;
}

struct plumb_list_scale { /* of a candidate's gradient */
    double score, nll;    /* d score / d input and d log-prob / d input */
};

/* d loss / d input of a candidate; `weight` of its list. */
PLUMB_HD plumb_real plumb_list_upstream(const struct plumb_list_share *r,
                                        const struct plumb_list_scale *s, double weight,
                                        double divisor)
{
    return plumb_saturate(weight * (r->ds * s->score - r->nll * s->nll) / divisor);
}
