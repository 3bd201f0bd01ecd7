/* Oracle of the value loss: plain loops in f64; for a yardstick sums are rounded and the error is
 * taken in plain f32. */
#define PLUMB_REAL_F64
#include "kernels/value_loss/value_token.h"

#include <plumb/value.h>

#include "kernels/value_loss/value_loss_plain.h"

static double at(const struct plumb_tensor *t, int64_t i, double absent)
{
    return t->data ? ((const double *)t->data)[i] : absent;
}

static void one_row(const struct plumb_value_loss *a, enum plumb_dtype round, int64_t b)
{
    double n = 0, sum = 0, clipped = 0, *dvalue = a->dvalue.data;
    for (int64_t t = a->offset[b]; t < a->offset[b + 1]; t++)
        n += !a->target || a->target[t] >= 0;
    const double share = a->aggregation == PLUMB_AGGREGATE_ROW_MEANS && n > 1 ? n : 1;
    const double scale = a->divisor > 0 ? 1 / a->divisor / share : 0;
    for (int64_t t = a->offset[b]; t < a->offset[b + 1]; t++) {
        const struct plumb_value_token p = { at(&a->value, t, 0), at(&a->old_value, t, 0),
                                             at(&a->returns, t, 0), a->cliprange };
        const double weight = at(&a->weight, t, 1);
        struct plumb_value_grad g = { 0 };
        if (dvalue) dvalue[t] = 0;
        if (a->target && a->target[t] < 0) continue;
        const double loss = round == PLUMB_F64
                                ? plumb_value_error(&p, &g)
                                : plumb_value_plain(0, (const double *)&p, (double *)&g);
        sum = plumb_dtype_round(round, sum + plumb_dtype_round(round, weight * loss));
        clipped += g.clipped;
        if (dvalue)
            dvalue[t] = plumb_dtype_round(round, scale * plumb_dtype_round(round, weight * g.dv));
    }
    ((double *)a->losses.data)[b] = plumb_dtype_round(round, sum / share);
    if (a->clipped.data) ((double *)a->clipped.data)[b] = clipped;
}

void plumb_value_loss_ref(const struct plumb_value_loss *a, enum plumb_dtype round)
{
#pragma omp parallel for schedule(static)
    for (int64_t b = 0; b < a->B; b++)
        one_row(a, round, b);
}
