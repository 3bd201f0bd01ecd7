/* Oracle of the pairwise losses: plain loops in f64; for a yardstick the sums are rounded and the
 * formula runs in plain f32. */
#define PLUMB_REAL_F64
#include "kernels/pairwise/pairwise_eval.h"

#include <plumb/pairwise.h>

#include "kernels/pairwise/pairwise_plain.h"
#include "kernels/sequence.h"

static double at_least_one(int64_t n) { return n > 1 ? (double)n : 1; }

static void one_pair(const struct plumb_pairwise *a, enum plumb_dtype round, int64_t i)
{
    const struct plumb_sequences s = { a->offset, a->logp.data, a->ref_logp.data, a->ref_sum.data };
    const struct plumb_sequence w = plumb_sequence_ref(&s, 2 * i, round);
    const struct plumb_sequence l = plumb_sequence_ref(&s, 2 * i + 1, round);
    const double delta = plumb_dtype_round(round, w.ratio - l.ratio);
    const struct plumb_pair p = { w.logp,
                                  l.logp,
                                  w.ratio,
                                  l.ratio,
                                  delta,
                                  at_least_one(w.tokens),
                                  at_least_one(l.tokens),
                                  a->beta,
                                  a->label_smoothing };
    double loss = 0, dw = 0, dl = 0;
    for (int64_t k = 0; k < a->term_count; k++) {
        struct plumb_pair_grad g = { 0 };
        const int id = a->terms[k].loss;
        const double value = round == PLUMB_F64
                                 ? plumb_pair_eval(id, &p, &g)
                                 : plumb_pair_plain(id, (const double *)&p, (double *)&g);
        loss = plumb_dtype_round(round, loss + a->terms[k].weight * value);
        dw = plumb_dtype_round(round, dw + a->terms[k].weight * g.dw);
        dl = plumb_dtype_round(round, dl + a->terms[k].weight * g.dl);
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
