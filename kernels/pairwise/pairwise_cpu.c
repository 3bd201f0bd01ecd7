/* Native pairwise losses: sums and the weighting of terms in f64, formulas in f32, pairs in
 * parallel. Compiled once per instruction set. */
#include "kernels/pairwise/pairwise_eval.h"

#include <plumb/pairwise.h>

#include "kernels/op.h"
#include "kernels/sequence.h"

static struct plumb_pair describe(const struct plumb_pairwise *a, const struct plumb_sequence *w,
                                  const struct plumb_sequence *l)
{
    return (struct plumb_pair){
        .lw = plumb_saturate(w->logp),
        .ll = plumb_saturate(l->logp),
        .uw = plumb_saturate(w->ratio),
        .ul = plumb_saturate(l->ratio),
        .delta = plumb_saturate(w->ratio - l->ratio),
        .nw = w->tokens > 1 ? (float)w->tokens : 1.0f,
        .nl = l->tokens > 1 ? (float)l->tokens : 1.0f,
        .beta = (float)a->beta,
        .label_smoothing = (float)a->label_smoothing,
    };
}

static void one_pair(const struct plumb_pairwise *a, int64_t i)
{
    const struct plumb_sequences s = { a->offset, a->logp.data, a->ref_logp.data, a->ref_sum.data };
    const struct plumb_sequence w = plumb_sequence_f32(&s, 2 * i);
    const struct plumb_sequence l = plumb_sequence_f32(&s, 2 * i + 1);
    const struct plumb_pair p = describe(a, &w, &l);
    double loss = 0, dw = 0, dl = 0;
    for (int64_t k = 0; k < a->term_count; k++) {
        struct plumb_pair_grad g = { 0 };
        loss += a->terms[k].weight *
                (double)plumb_finite(plumb_pair_eval(a->terms[k].loss, &p, &g));
        dw += a->terms[k].weight * (double)plumb_finite(g.dw);
        dl += a->terms[k].weight * (double)plumb_finite(g.dl);
    }
    float *logps = a->logps.data, *rewards = a->rewards.data, *dlogp = a->dlogp.data;
    ((float *)a->losses.data)[i] = plumb_saturate(loss);
    logps[2 * i] = p.lw, logps[2 * i + 1] = p.ll;
    rewards[2 * i] = plumb_saturate(a->beta * w.ratio);
    rewards[2 * i + 1] = plumb_saturate(a->beta * l.ratio);
    if (!dlogp) return;
    const float upw = plumb_saturate(dw / a->divisor), upl = plumb_saturate(dl / a->divisor);
    for (int32_t t = a->offset[2 * i]; t < a->offset[2 * i + 1]; t++)
        dlogp[t] = upw;
    for (int32_t t = a->offset[2 * i + 1]; t < a->offset[2 * i + 2]; t++)
        dlogp[t] = upl;
}

int PLUMB_CPU_FN(plumb_pairwise_cpu)(const struct plumb_pairwise *a)
{
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < a->B; i++)
        one_pair(a, i);
    return PLUMB_OK;
}
