/* Native unpaired losses and KTO's reference point: sums in f64, formulas in f32, completions in
 * parallel. Compiled once per instruction set. */
#include "kernels/op.h"
#include "kernels/unpaired/unpaired_shell.h"

static void one_completion(const struct plumb_unpaired *a, int64_t i)
{
    const struct plumb_sequences s = { a->offset, a->logp.data, a->ref_logp.data, a->ref_sum.data };
    const struct plumb_sequence q = plumb_sequence_f32(&s, i);
    const struct plumb_completion_options o = plumb_completion_options(a);
    const float kl = a->kl.data ? *(const float *)a->kl.data : 0.0f;
    const struct plumb_completion_result r = plumb_completion_shell(&o, &q, a->label[i] == 1, kl);
    ((float *)a->losses.data)[i] = r.loss;
    ((float *)a->logps.data)[i] = plumb_saturate(q.logp);
    ((float *)a->rewards.data)[i] = plumb_saturate(a->beta * q.ratio);
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
