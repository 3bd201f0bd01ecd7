/* The native loop over pairs. */
#pragma once
#include "kernels/op.h"
#include "kernels/pairwise/pairwise_shell.h"

static void plumb_pair_row(const struct plumb_pairwise *a, const struct plumb_pair_options *o,
                           int64_t i)
{
    const float *weight = a->token_weight.data;
    const struct plumb_sequences s = { a->offset, a->logp.data, a->ref_logp.data, a->ref_sum.data,
                                       weight };
    const struct plumb_sequence w = plumb_sequence_f32(&s, 2 * i);
    const struct plumb_sequence l = plumb_sequence_f32(&s, 2 * i + 1);
    struct plumb_pair_room room;
    const struct plumb_pair_result r = plumb_pair_shell(o, i, &w, &l, &room);
    float *logps = a->logps.data, *rewards = a->rewards.data, *dlogp = a->dlogp.data;
    ((float *)a->losses.data)[i] = r.loss;
    logps[2 * i] = plumb_saturate_f32(w.logp), logps[2 * i + 1] = plumb_saturate_f32(l.logp);
    rewards[2 * i] = plumb_saturate_f32(a->beta * w.ratio);
    rewards[2 * i + 1] = plumb_saturate_f32(a->beta * l.ratio);
    if (!dlogp) return;
    for (int32_t t = a->offset[2 * i]; t < a->offset[2 * i + 2]; t++) {
        const float up = t < a->offset[2 * i + 1] ? r.upw : r.upl;
        dlogp[t] = weight ? plumb_saturate_f32((double)up * (double)weight[t]) : up;
    }
}

static inline int plumb_pair_rows(const struct plumb_pairwise *a)
{
    const struct plumb_pair_options o = plumb_pair_options(a);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < a->B; i++)
        plumb_pair_row(a, &o, i);
    return PLUMB_OK;
}
