/* Native pointwise losses: formulas in f32, scores in parallel. Compiled once per instruction
 * set. */
#include <plumb/pointwise.h>

#include "kernels/op.h"
#include "kernels/pointwise/pointwise_shell.h"

int PLUMB_CPU_FN(plumb_pointwise_cpu)(const struct plumb_pointwise *a)
{
    const float *score = a->score.data, *target = a->target.data, *weight = a->weight.data;
    float *losses = a->losses.data, *dscore = a->dscore.data;
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < a->N; n++) {
        const struct plumb_rating p = { score[n], target[n], (float)a->pos_weight };
        const struct plumb_rating_result r = plumb_rating_shell((int)a->loss, &p,
                                                                weight ? weight[n] : 1, a->divisor);
        losses[n] = r.loss;
        if (dscore) dscore[n] = r.grad;
    }
    return PLUMB_OK;
}
