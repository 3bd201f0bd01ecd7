/* Native reward-model losses: formulas in f32, pairs in parallel. Compiled once per instruction
 * set. */
#include "kernels/op.h"
#include "kernels/reward/reward_shell.h"

static float at(const struct plumb_tensor *t, int64_t i, float absent)
{
    return t->data ? ((const float *)t->data)[i] : absent;
}

int PLUMB_CPU_FN(plumb_reward_cpu)(const struct plumb_reward *a)
{
    const struct plumb_scores_options o = plumb_scores_options(a);
    float *losses = a->losses.data, *dscore = a->dscore.data, *danchor = a->danchor.data;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < a->B; i++) {
        struct plumb_scores p = { .chosen = at(&a->score, 2 * i, 0),
                                  .rejected = at(&a->score, 2 * i + 1, 0),
                                  .margin = at(&a->margin, i, 0),
                                  .target = at(&a->target, i, 0),
                                  .sign_chosen = at(&a->sign, 2 * i, 0),
                                  .sign_rejected = at(&a->sign, 2 * i + 1, 0),
                                  .anchor_chosen = at(&a->anchor, 2 * i, 0),
                                  .anchor_rejected = at(&a->anchor, 2 * i + 1, 0) };
        const struct plumb_scores_result r = plumb_scores_shell(&o, &p, at(&a->weight, i, 1));
        losses[i] = r.loss;
        if (dscore) dscore[2 * i] = r.dchosen, dscore[2 * i + 1] = r.drejected;
        if (danchor) danchor[2 * i] = r.danchor_chosen, danchor[2 * i + 1] = r.danchor_rejected;
    }
    return PLUMB_OK;
}
