/* Native listwise losses: sums of log-probs and of shares in f64, formulas in f32; candidates, then
 * lists in parallel. Compiled once per instruction set. */
#include "kernels/listwise/listwise_room.h"

#include "kernels/op.h"
#include "kernels/sequence.h"

static float *values(const struct plumb_tensor *t) { return t->data; }

static void one_candidate(const struct plumb_listwise *a, const struct plumb_list_room *r,
                          int64_t c)
{
    double score;
    if (a->score.data) {
        score = a->beta * (double)values(&a->score)[c];
    } else {
        const struct plumb_sequences s = { a->offset, a->logp.data, a->ref_logp.data,
                                           a->ref_sum.data };
        const struct plumb_sequence q = plumb_sequence_f32(&s, c);
        score = a->beta * q.ratio / plumb_list_length(q.tokens, a->length_penalty);
        values(&a->logps)[c] = plumb_saturate(q.logp);
        values(&a->scores)[c] = plumb_saturate(score);
    }
    r->score[c] = plumb_finite(plumb_saturate(score));
    r->label[c] = plumb_finite(values(&a->label)[c]);
    r->mask[c] = !a->mask || a->mask[c] != 0;
}

static struct plumb_list_scale scale_of(const struct plumb_listwise *a, int64_t c)
{
    if (a->score.data) return (struct plumb_list_scale){ a->beta, 0 };
    const int64_t n = a->offset[c + 1] - a->offset[c];
    return (struct plumb_list_scale){ a->beta / plumb_list_length(n, a->length_penalty),
                                      1 / plumb_list_length(n, a->sft_length_penalty) };
}

static void gradient(const struct plumb_listwise *a, const struct plumb_list_share *share,
                     int64_t c, double weight)
{
    const struct plumb_list_scale s = scale_of(a, c);
    const float up = plumb_list_upstream(share, &s, weight, a->divisor);
    values(&a->dscore)[c] = up;
    for (int32_t t = a->dlogp.data ? a->offset[c] : 0; a->dlogp.data && t < a->offset[c + 1]; t++)
        values(&a->dlogp)[t] = up;
}

static void one_list(const struct plumb_listwise *a, const struct plumb_list_room *r, int64_t at)
{
    struct plumb_list l = plumb_list_in(a, r, at);
    const int64_t first = a->list[at] - a->first;
    const double weight = a->weight.data ? (double)values(&a->weight)[at] : 1;
    const struct plumb_list_rows rows = plumb_list_solve((int)a->loss, &l, r->key + first,
                                                         r->place + first, r->rank + first,
                                                         a->sft_weight, r->share + first);
    double loss = rows.loss;
    for (int64_t c = first; c < first + l.K; c++) {
        const struct plumb_list_share *share = &r->share[c];
        if (share->nll > 0) loss -= share->nll * scale_of(a, c).nll * (double)values(&a->logps)[c];
        if (a->dscore.data) gradient(a, share, c, weight);
    }
    values(&a->losses)[at] = plumb_saturate(weight * loss);
    if (a->pairs.data) values(&a->pairs)[at] = (float)rows.pairs;
    if (a->correct.data) values(&a->correct)[at] = (float)rows.correct;
    if (a->top.data) values(&a->top)[at] = (float)rows.top;
}

int PLUMB_CPU_FN(plumb_listwise_cpu)(const struct plumb_listwise *a)
{
    const struct plumb_list_room r = plumb_list_room(a);
#pragma omp parallel for schedule(static)
    for (int64_t c = 0; c < a->C; c++)
        one_candidate(a, &r, c);
#pragma omp parallel for schedule(dynamic)
    for (int64_t l = 0; l < a->L; l++)
        one_list(a, &r, l);
    return PLUMB_OK;
}
