/* Native unpaired losses and the numbers that completions are judged against: sums in f64, formulas
 * in f32, completions in parallel. Compiled once per instruction set. */
#include "kernels/op.h"
#include "kernels/unpaired/moments.h"
#include "kernels/unpaired/unpaired_shell.h"

static void one_completion(const struct plumb_unpaired *a, int64_t i)
{
    const struct plumb_sequences s = { a->offset, a->logp.data, a->ref_logp.data, a->ref_sum.data };
    const struct plumb_sequence q = plumb_sequence_f32(&s, i);
    const struct plumb_completion_options o = plumb_completion_options(a);
    struct plumb_completion p;
    const struct plumb_completion_result r = plumb_completion_shell(&o, i, &q, &p);
    ((float *)a->losses.data)[i] = r.loss;
    ((float *)a->logps.data)[i] = plumb_saturate(q.logp);
    ((float *)a->rewards.data)[i] = plumb_saturate(a->beta * q.ratio);
    if (a->dvalue.data) ((float *)a->dvalue.data)[i] = r.dvalue;
    float *dlogp = a->dlogp.data;
    for (int32_t t = a->offset[i]; dlogp && t < a->offset[i + 1]; t++)
        dlogp[t] = r.up;
}

int PLUMB_CPU_FN(plumb_unpaired_cpu)(const struct plumb_unpaired *a)
{
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < a->B; i++)
        one_completion(a, i);
    return PLUMB_OK;
}

int PLUMB_CPU_FN(plumb_kto_kl_cpu)(const struct plumb_kto_kl *a)
{
    const struct plumb_sequences s = { a->offset, a->logp.data, a->ref_logp.data, a->ref_sum.data };
    double sum = 0;
    for (int64_t i = 0; i < a->B; i++)
        sum += plumb_sequence_f32(&s, i).ratio;
    const double mean = a->B > 0 ? sum / (double)a->B : 0;
    *(float *)a->kl.data = mean < 0 ? 0 : plumb_saturate(mean); /* NaN stays NaN */
    return PLUMB_OK;
}

int PLUMB_CPU_FN(plumb_bco_delta_cpu)(const struct plumb_bco_delta *a)
{
    const struct plumb_sequences s = { a->offset, a->logp.data, a->ref_logp.data, a->ref_sum.data };
    struct plumb_moments all = { a->before[0], a->before[1], a->before[2] };
    for (int64_t i = 0; i < a->B; i++)
        plumb_moments_add(&all, a->beta * plumb_sequence_f32(&s, i).ratio);
    a->after[0] = all.count, a->after[1] = all.mean, a->after[2] = all.squares;
    *(float *)a->delta.data = plumb_saturate(all.mean);
    if (a->variance.data) *(float *)a->variance.data = plumb_saturate(plumb_moments_variance(&all));
    return PLUMB_OK;
}
