/* What a listwise formula sees: one list. A formula is a function of the list and one candidate i
 * in it: it adds to r->loss the candidate's share of the loss and to r->ds the derivative of the
 * whole loss by its score, looping over the others. So any number of threads can run a list, and
 * none needs memory for pairs. Terms are plumb_real, sums f64. A staged formula also has a first
 * pass, plumb_list_<name>_key, whose value for each candidate the second reads in l->key. */
#pragma once
#include "kernels/scalar.h"

struct plumb_list {
    int64_t K;               /* slots, of which mask takes some away */
    int64_t count;           /* candidates that take part */
    double pairs;            /* pairs of unequal labels */
    const plumb_real *score; /* s, of each candidate, finite */
    const plumb_real *label; /* of each candidate, larger = better, finite */
    const plumb_real *key;   /* what the formula's first pass leaves */
    const int32_t *mask;     /* 0 = takes no part */
    const int32_t *place;    /* candidates before it by label, ties by index */
    const int32_t *rank;     /* the same by score */
    plumb_real label_temperature, margin, lambda;
    int64_t top_k;
};

struct plumb_list_share {
    double loss; /* nats */
    double ds;   /* d loss / d score */
    double nll;  /* weight of -log-prob of the candidate in the loss; the caller sets it */
};

/* Runs its body for all j that take part. */
#define PLUMB_LIST_EACH(l, j)                                                                      \
    for (int64_t j = 0; j < (l)->K; j++)                                                           \
        if ((l)->mask[j])

PLUMB_HD plumb_real plumb_list_gap(const struct plumb_list *l, int64_t i, int64_t j)
{
    return plumb_finite(l->score[i] - l->score[j]);
}

PLUMB_HD plumb_real plumb_list_label_gap(const struct plumb_list *l, int64_t i, int64_t j)
{
    return plumb_finite(l->label[i] - l->label[j]);
}

/* log of a sum of e^x, exact at all sizes; of no terms: the least number. */
struct plumb_lse {
    plumb_real most;
    double sum; /* in units of e^most */
};
PLUMB_HD struct plumb_lse plumb_lse_none(void)
{
    const struct plumb_lse a = { -PLUMB_REAL_MAX, 0 };
    return a;
}
PLUMB_HD void plumb_lse_add(struct plumb_lse *a, plumb_real x)
{
    if (x > a->most) {
        a->sum = a->sum * (double)plumb_exp(a->most - x) + 1;
        a->most = x;
    } else {
        a->sum += (double)plumb_exp(x - a->most);
    }
}
PLUMB_HD plumb_real plumb_lse_value(const struct plumb_lse *a)
{
    return a->sum > 0 ? plumb_finite(a->most + plumb_log((plumb_real)a->sum)) : a->most;
}

/* log of sum over j != i of e^(x_j - x_i), by scores and by labels / label_temperature: with z its
 * value, softmax(x)_i = s(-z) and its log is -softplus(z). */
PLUMB_HD plumb_real plumb_list_others(const struct plumb_list *l, int64_t i)
{
    struct plumb_lse a = plumb_lse_none();
    PLUMB_LIST_EACH(l, j)
    {
        if (j != i) plumb_lse_add(&a, plumb_list_gap(l, j, i));
    }
    return plumb_lse_value(&a);
}
PLUMB_HD plumb_real plumb_list_other_labels(const struct plumb_list *l, int64_t i)
{
    struct plumb_lse a = plumb_lse_none();
    PLUMB_LIST_EACH(l, j)
    {
        if (j != i)
            plumb_lse_add(&a, plumb_finite(plumb_list_label_gap(l, j, i) / l->label_temperature));
    }
    return plumb_lse_value(&a);
}
