/* Native value loss: errors in f32, sums of a row in f64 in the order of its tokens, rows in
 * parallel. Compiled once per instruction set. */
#include <plumb/value.h>

#include "kernels/op.h"
#include "kernels/value_loss/value_loss_shell.h"

static float at(const struct plumb_tensor *t, int64_t i, float absent)
{
    return t->data ? ((const float *)t->data)[i] : absent;
}

static bool counts(const struct plumb_value_loss *a, int64_t t)
{
    return !a->target || a->target[t] >= 0;
}

static void one_row(const struct plumb_value_loss *a, int64_t b)
{
    const bool means = a->aggregation == PLUMB_AGGREGATE_ROW_MEANS;
    double tokens = 0, sum = 0;
    int32_t clipped = 0;
    for (int64_t t = a->offset[b]; t < a->offset[b + 1]; t++)
        tokens += counts(a, t);
    const double scale = plumb_value_scale(a->divisor, means, tokens);
    float *dvalue = a->dvalue.data;
    for (int64_t t = a->offset[b]; t < a->offset[b + 1]; t++) {
        struct plumb_value_term e = { 0 };
        if (counts(a, t))
            e = plumb_value_term_of(at(&a->value, t, 0), at(&a->old_value, t, 0),
                                    at(&a->returns, t, 0), (float)a->cliprange,
                                    at(&a->weight, t, 1));
        sum += e.loss, clipped += e.clipped;
        if (dvalue) dvalue[t] = plumb_saturate(scale * e.dv);
    }
    ((float *)a->losses.data)[b] = plumb_value_part(sum, means, tokens);
    if (a->clipped.data) ((float *)a->clipped.data)[b] = (float)clipped;
}

int PLUMB_CPU_FN(plumb_value_loss_cpu)(const struct plumb_value_loss *a)
{
#pragma omp parallel for schedule(static)
    for (int64_t b = 0; b < a->B; b++)
        one_row(a, b);
    return PLUMB_OK;
}
