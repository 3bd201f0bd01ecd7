/* Native losses by token: formulas in f32, sums in f64, completions in parallel. Compiled once per
 * instruction set. */
#include "kernels/op.h"
#include "kernels/tokenwise/tokenwise_shell.h"

static void one_completion(const struct plumb_tokenwise *a, int64_t i)
{
    const float *logp = a->logp.data, *ref = a->ref_logp.data;
    const float *target = a->target.data, *weight = a->weight.data;
    float *losses = a->losses.data, *dlogp = a->dlogp.data;
    const struct plumb_graded_options o = plumb_graded_options(a);
    const double w = weight ? (double)weight[i] : 1;
    const struct plumb_graded_row row = { a->label && a->label[i] == 1, target ? target[i] : 0, w,
                                          w / a->divisor };
    double loss = 0;
    for (int32_t t = a->offset[i]; t < a->offset[i + 1]; t++) {
        const struct plumb_graded_result r = plumb_graded_shell(&o, &row, logp[t],
                                                                ref ? ref[t] : 0);
        loss += r.loss;
        if (dlogp) dlogp[t] = r.grad;
    }
    losses[i] = plumb_saturate(loss);
}

int PLUMB_CPU_FN(plumb_tokenwise_cpu)(const struct plumb_tokenwise *a)
{
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < a->B; i++)
        one_completion(a, i);
    return PLUMB_OK;
}
