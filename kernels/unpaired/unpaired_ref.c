/* Oracle of the unpaired losses and of the numbers that completions are judged against: plain loops
 * in f64; for a yardstick the sums are rounded and the formula runs in plain f32. */
#define PLUMB_REAL_F64
#include "kernels/unpaired/unpaired_eval.h"

#include <plumb/unpaired.h>

#include "kernels/sequence.h"
#include "kernels/unpaired/unpaired_plain.h"

static double input(const struct plumb_tensor *t, int64_t i, double absent)
{
    return t->data ? ((const double *)t->data)[i] : absent;
}

static struct plumb_completion completion(const struct plumb_unpaired *a, int64_t i,
                                          const struct plumb_sequence *q)
{
    return (struct plumb_completion){
        .lp = q->logp,
        .u = q->ratio,
        .desirable = a->label ? a->label[i] : 0,
        .kl = input(&a->kl, 0, 0),
        .beta = a->beta,
        .desirable_weight = a->desirable_weight,
        .undesirable_weight = a->undesirable_weight,
        .shift = input(&a->shift, 0, 0),
        .target = input(&a->target, i, 0),
        .value = input(&a->value, i, 0),
        .lambda = a->lambda,
        .clip = a->clip,
        .clamp_negative = a->clamp_negative,
        .normalize = a->normalize,
    };
}

static void one_completion(const struct plumb_unpaired *a, enum plumb_dtype round, int64_t i)
{
    const struct plumb_sequences s = { a->offset, a->logp.data, a->ref_logp.data, a->ref_sum.data };
    const struct plumb_sequence q = plumb_sequence_ref(&s, i, round);
    const struct plumb_completion p = completion(a, i, &q);
    struct plumb_completion_grad g = { 0 };
    const double loss = round == PLUMB_F64 ? plumb_completion_eval((int)a->loss, &p, &g)
                                           : plumb_completion_plain(
                                                 (int)a->loss, (const double *)&p, (double *)&g);
    const double weight = input(&a->weight, i, 1);
    ((double *)a->losses.data)[i] = plumb_dtype_round(round, weight * loss);
    ((double *)a->logps.data)[i] = q.logp;
    ((double *)a->rewards.data)[i] = plumb_dtype_round(round, a->beta * q.ratio);
    double *dlogp = a->dlogp.data, *dvalue = a->dvalue.data;
    if (dvalue) dvalue[i] = plumb_dtype_round(round, weight * g.dvalue / a->divisor);
    for (int32_t t = a->offset[i]; dlogp && t < a->offset[i + 1]; t++)
        dlogp[t] = plumb_dtype_round(round, weight * g.dlp / a->divisor);
}

void plumb_unpaired_ref(const struct plumb_unpaired *a, enum plumb_dtype round)
{
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < a->B; i++)
        one_completion(a, round, i);
}

void plumb_kto_kl_ref(const struct plumb_kto_kl *a, enum plumb_dtype round)
{
    const struct plumb_sequences s = { a->offset, a->logp.data, a->ref_logp.data, a->ref_sum.data };
    double sum = 0;
    for (int64_t i = 0; i < a->B; i++)
        sum = plumb_dtype_round(round, sum + plumb_sequence_ref(&s, i, round).ratio);
    const double mean = a->B > 0 ? plumb_dtype_round(round, sum / (double)a->B) : 0;
    *(double *)a->kl.data = mean < 0 ? 0 : mean;
}

/* Moments by sums about the first mean: another way than the other devices'. */
void plumb_bco_delta_ref(const struct plumb_bco_delta *a, enum plumb_dtype round)
{
    const struct plumb_sequences s = { a->offset, a->logp.data, a->ref_logp.data, a->ref_sum.data };
    const double n = a->before[0] + (double)a->B, about = a->before[1];
    double mean = about, squares = a->before[2];
    for (int64_t i = 0; i < a->B; i++) {
        const double reward = a->beta * plumb_sequence_ref(&s, i, round).ratio;
        mean = plumb_dtype_round(round, mean + (reward - about) / n);
    }
    squares += a->before[0] * (mean - about) * (mean - about);
    for (int64_t i = 0; i < a->B; i++) {
        const double d = a->beta * plumb_sequence_ref(&s, i, round).ratio - mean;
        squares = plumb_dtype_round(round, squares + d * d);
    }
    a->after[0] = n, a->after[1] = mean, a->after[2] = squares;
    *(double *)a->delta.data = mean;
    if (a->variance.data)
        *(double *)a->variance.data = n > 0 ? plumb_dtype_round(round, squares / n) : 0;
}
