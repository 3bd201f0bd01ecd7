/* The device's block of the pairwise losses: it owns four pairs. Its warps sum the eight sequences,
 * four threads evaluate the formulas, all write the tokens' gradients. */
#pragma once
#include "kernels/pairwise/pairwise_shell.h"

#include "kernels/gpu_sequence.h"

enum { PLUMB_PAIR_BLOCK = PLUMB_RUNS / 2 };

struct pairwise_job {
    struct plumb_run_sums in;
    struct plumb_pair_options options;
    float *losses, *dlogp;
};

PLUMB_DEVICE void plumb_pair_block(const struct pairwise_job *j, struct plumb_runs *s,
                                   struct plumb_pair_room *room)
{
    plumb_runs_sum(s, &j->in);
    const int t = (int)threadIdx.x;
    const int64_t i = plumb_runs_first() / 2 + t;
    if (t < PLUMB_PAIR_BLOCK && 2 * i < j->in.R) {
        const struct plumb_pair_result r = plumb_pair_shell(&j->options, i, &s->q[2 * t],
                                                            &s->q[2 * t + 1], &room[t]);
        j->losses[i] = r.loss;
        s->up[2 * t] = r.upw, s->up[2 * t + 1] = r.upl;
    }
    plumb_runs_fill(s, j->dlogp, j->in.token_weight);
}

static inline struct pairwise_job plumb_pair_job(const struct plumb_pairwise *a)
{
    const struct pairwise_job j = {
        .in = { 2 * a->B, a->offset, (const float *)a->logp.data, (const float *)a->ref_logp.data,
                (const float *)a->ref_sum.data, (float *)a->logps.data, (float *)a->rewards.data,
                a->beta, (const float *)a->token_weight.data },
        .options = plumb_pair_options(a),
        .losses = (float *)a->losses.data,
        .dlogp = (float *)a->dlogp.data,
    };
    return j;
}

static inline unsigned plumb_pair_blocks(const struct plumb_pairwise *a)
{
    return (unsigned)plumb_ceil_div(a->B, PLUMB_PAIR_BLOCK);
}
