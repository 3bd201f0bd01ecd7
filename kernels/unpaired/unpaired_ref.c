/* Oracle of the unpaired losses and of KTO's reference point: plain loops in f64; for a yardstick
 * the sums are rounded and the formula runs in plain f32. */
#define PLUMB_REAL_F64
#include "kernels/unpaired/unpaired_eval.h"

#include <plumb/unpaired.h>

#include "kernels/sequence.h"
#include "kernels/unpaired/unpaired_plain.h"

static void one_completion(const struct plumb_unpaired *a, enum plumb_dtype round, int64_t i)
{
    const struct plumb_sequences s = { a->offset, a->logp.data, a->ref_logp.data, a->ref_sum.data };
    const struct plumb_sequence q = plumb_sequence_ref(&s, i, round);
    const struct plumb_completion p = { q.logp,
                                        q.ratio,
                                        a->label[i],
                                        a->kl.data ? *(const double *)a->kl.data : 0,
                                        a->beta,
                                        a->desirable_weight,
                                        a->undesirable_weight };
    struct plumb_completion_grad g = { 0 };
    const double loss = round == PLUMB_F64 ? plumb_completion_eval((int)a->loss, &p, &g)
                                           : plumb_completion_plain(
                                                 (int)a->loss, (const double *)&p, (double *)&g);
    ((double *)a->losses.data)[i] = loss;
    ((double *)a->logps.data)[i] = q.logp;
    ((double *)a->rewards.data)[i] = plumb_dtype_round(round, a->beta * q.ratio);
    double *dlogp = a->dlogp.data;
    for (int32_t t = a->offset[i]; dlogp && t < a->offset[i + 1]; t++)
        dlogp[t] = plumb_dtype_round(round, g.dlp / a->divisor);
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
