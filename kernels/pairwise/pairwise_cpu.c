/* Native pairwise losses: sums and the weighting of terms in f64, formulas in f32, pairs in
 * parallel. Compiled once per instruction set. */
#include "kernels/op.h"
#include "kernels/pairwise/pairwise_shell.h"

static void one_pair(const struct plumb_pairwise *a, const struct plumb_pair_options *o, int64_t i)
{
    const struct plumb_sequences s = { a->offset, a->logp.data, a->ref_logp.data, a->ref_sum.data };
    const struct plumb_sequence w = plumb_sequence_f32(&s, 2 * i);
    const struct plumb_sequence l = plumb_sequence_f32(&s, 2 * i + 1);
    struct plumb_pair p;
    const struct plumb_pair_result r = plumb_pair_shell(o, i, &w, &l, &p);
    float *logps = a->logps.data, *rewards = a->rewards.data, *dlogp = a->dlogp.data;
    ((float *)a->losses.data)[i] = r.loss;
    logps[2 * i] = plumb_saturate(w.logp), logps[2 * i + 1] = plumb_saturate(l.logp);
    rewards[2 * i] = plumb_saturate(a->beta * w.ratio);
    rewards[2 * i + 1] = plumb_saturate(a->beta * l.ratio);
    if (!dlogp) return;
    for (int32_t t = a->offset[2 * i]; t < a->offset[2 * i + 1]; t++)
        dlogp[t] = r.upw;
    for (int32_t t = a->offset[2 * i + 1]; t < a->offset[2 * i + 2]; t++)
        dlogp[t] = r.upl;
}

int PLUMB_CPU_FN(plumb_pairwise_cpu)(const struct plumb_pairwise *a)
{
    const struct plumb_pair_options o = plumb_pair_options(a);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < a->B; i++)
        one_pair(a, &o, i);
    return PLUMB_OK;
}
