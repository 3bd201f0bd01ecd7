/* Oracle of the pairwise losses: plain loops in f64; for a yardstick the sums are rounded and the
 * formula runs in plain f32. */
#define PLUMB_REAL_F64
#include "kernels/pairwise/pairwise_eval.h"

#include <plumb/pairwise.h>

#include "kernels/pairwise/pairwise_plain.h"
#include "kernels/sequence.h"

static double at_least_one(int64_t n) { return n > 1 ? (double)n : 1; }

static double input(const struct plumb_tensor *t, int64_t i, double absent)
{
    return t->data ? ((const double *)t->data)[i] : absent;
}

static struct plumb_pair pair(const struct plumb_pairwise *a, enum plumb_dtype round, int64_t i,
                              const struct plumb_sequence *w, const struct plumb_sequence *l)
{
    return (struct plumb_pair){
        .lw = w->logp,
        .ll = l->logp,
        .uw = w->ratio,
        .ul = l->ratio,
        .delta = plumb_dtype_round(round, w->ratio - l->ratio),
        .nw = at_least_one(w->tokens),
        .nl = at_least_one(l->tokens),
        .beta = a->beta,
        .label_smoothing = a->label_smoothing,
        .margin = input(&a->margin, i, 0),
        .tw = input(&a->target, 2 * i, 0),
        .tl = input(&a->target, 2 * i + 1, 0),
        .discopop_tau = a->discopop_tau,
        .gamma = a->gamma,
        .alpha = a->alpha,
        .lambda = a->lambda,
        .shift = a->shift,
        .chosen_tokens = a->chosen_tokens,
    };
}

static void one_pair(const struct plumb_pairwise *a, enum plumb_dtype round, int64_t i)
{
    const struct plumb_sequences s = { a->offset, a->logp.data, a->ref_logp.data, a->ref_sum.data };
    const struct plumb_sequence w = plumb_sequence_ref(&s, 2 * i, round);
    const struct plumb_sequence l = plumb_sequence_ref(&s, 2 * i + 1, round);
    const struct plumb_pair p = pair(a, round, i, &w, &l);
    const double scale = input(&a->weight, i, 1);
    double loss = 0, dw = 0, dl = 0;
    for (int64_t k = 0; k < a->term_count; k++) {
        struct plumb_pair_grad g = { 0 };
        const int id = a->terms[k].loss;
        const double value = round == PLUMB_F64
                                 ? plumb_pair_eval(id, &p, &g)
                                 : plumb_pair_plain(id, (const double *)&p, (double *)&g);
        const double weight = scale * a->terms[k].weight;
        loss = plumb_dtype_round(round, loss + weight * value);
        dw = plumb_dtype_round(round, dw + weight * g.dw);
        dl = plumb_dtype_round(round, dl + weight * g.dl);
    }
    ((double *)a->losses.data)[i] = loss;
    double *logps = a->logps.data, *rewards = a->rewards.data, *dlogp = a->dlogp.data;
    logps[2 * i] = w.logp, logps[2 * i + 1] = l.logp;
    rewards[2 * i] = plumb_dtype_round(round, a->beta * w.ratio);
    rewards[2 * i + 1] = plumb_dtype_round(round, a->beta * l.ratio);
    if (!dlogp) return;
    for (int32_t t = a->offset[2 * i]; t < a->offset[2 * i + 2]; t++)
        dlogp[t] = plumb_dtype_round(round, (t < a->offset[2 * i + 1] ? dw : dl) / a->divisor);
}

void plumb_pairwise_ref(const struct plumb_pairwise *a, enum plumb_dtype round)
{
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < a->B; i++)
        one_pair(a, round, i);
}
