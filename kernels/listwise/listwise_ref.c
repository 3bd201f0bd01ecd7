/* Oracle of the listwise losses: plain loops in f64; for a yardstick the sums are rounded and the
 * formula runs in plain f32. */
#define PLUMB_REAL_F64
#include "kernels/listwise/listwise_room.h"

#include "kernels/listwise/listwise_plain.h"
#include "kernels/sequence.h"

static double *values(const struct plumb_tensor *t) { return t->data; }

static double length_of(const struct plumb_listwise *a, int64_t c, double penalty)
{
    return plumb_list_length(a->offset[c + 1] - a->offset[c], penalty);
}

static void one_candidate(const struct plumb_listwise *a, enum plumb_dtype round,
                          const struct plumb_list_room *r, int64_t c)
{
    double score;
    if (a->score.data) {
        score = plumb_dtype_round(round, a->beta * values(&a->score)[c]);
    } else {
        const struct plumb_sequences s = { a->offset, a->logp.data, a->ref_logp.data,
                                           a->ref_sum.data };
        const struct plumb_sequence q = plumb_sequence_ref(&s, c, round);
        score = plumb_dtype_round(round, a->beta * q.ratio / length_of(a, c, a->length_penalty));
        values(&a->logps)[c] = q.logp;
        values(&a->scores)[c] = score;
    }
    r->score[c] = plumb_finite(score);
    r->label[c] = plumb_finite(values(&a->label)[c]);
    r->mask[c] = !a->mask || a->mask[c] != 0;
}

static struct plumb_list_rows solve(const struct plumb_listwise *a, enum plumb_dtype round,
                                    const struct plumb_list_room *r, int64_t at)
{
    struct plumb_list l = plumb_list_in(a, r, at);
    const int64_t c = a->list[at] - a->first;
    if (round == PLUMB_F64)
        return plumb_list_solve((int)a->loss, &l, r->key + c, r->place + c, r->rank + c,
                                a->sft_weight, r->share + c);
    struct plumb_list_rows rows;
    const struct plumb_list_plain p = { .K = l.K,
                                        .top_k = a->top_k,
                                        .score = l.score,
                                        .label = l.label,
                                        .label_temperature = a->label_temperature,
                                        .margin = a->margin,
                                        .lambda = a->lambda,
                                        .sft_weight = a->sft_weight,
                                        .mask = l.mask,
                                        .room = r->plain + 3 * c,
                                        .place = r->place + c,
                                        .rank = r->rank + c,
                                        .share = (double *)(r->share + c),
                                        .rows = (double *)&rows };
    plumb_list_plain((int)a->loss, &p);
    return rows;
}

static void gradient(const struct plumb_listwise *a, enum plumb_dtype round,
                     const struct plumb_list_share *share, int64_t c, double weight)
{
    struct plumb_list_scale s = { a->beta, 0 };
    if (!a->score.data) {
        s.score = a->beta / length_of(a, c, a->length_penalty);
        s.nll = 1 / length_of(a, c, a->sft_length_penalty);
    }
    const double up = plumb_dtype_round(round, plumb_list_upstream(share, &s, weight, a->divisor));
    values(&a->dscore)[c] = up;
    for (int32_t t = a->dlogp.data ? a->offset[c] : 0; a->dlogp.data && t < a->offset[c + 1]; t++)
        values(&a->dlogp)[t] = up;
}

static void one_list(const struct plumb_listwise *a, enum plumb_dtype round,
                     const struct plumb_list_room *r, int64_t at)
{
    const struct plumb_list_rows rows = solve(a, round, r, at);
    const double weight = a->weight.data ? values(&a->weight)[at] : 1;
    double loss = rows.loss;
    for (int64_t c = a->list[at] - a->first; c < a->list[at + 1] - a->first; c++) {
        const struct plumb_list_share *share = &r->share[c];
        if (share->nll > 0)
            loss -= share->nll * values(&a->logps)[c] / length_of(a, c, a->sft_length_penalty);
        if (a->dscore.data) gradient(a, round, share, c, weight);
    }
    values(&a->losses)[at] = plumb_dtype_round(round, weight * loss);
    if (a->pairs.data) values(&a->pairs)[at] = rows.pairs;
    if (a->correct.data) values(&a->correct)[at] = rows.correct;
    if (a->top.data) values(&a->top)[at] = rows.top;
}

void plumb_listwise_ref(const struct plumb_listwise *a, enum plumb_dtype round)
{
    const struct plumb_list_room r = plumb_list_room(a);
    for (int64_t c = 0; c < a->C; c++)
        one_candidate(a, round, &r, c);
#pragma omp parallel for schedule(static)
    for (int64_t l = 0; l < a->L; l++)
        one_list(a, round, &r, l);
}
