/* Oracle of the classification losses: plain loops in f64; for a yardstick the formula runs in
 * plain f32. */
#define PLUMB_REAL_F64
#include "kernels/classify/classify_eval.h"

#include <plumb/classify.h>

#include "kernels/classify/classify_plain.h"

void plumb_classify_ref(const struct plumb_classify *a, enum plumb_dtype round)
{
    const int K = (int)a->K;
    double *losses = a->losses.data, *dlogits = a->dlogits.data;
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < a->N; n++) {
        const double *logits = (const double *)a->logits.data + n * K;
        double row[PLUMB_CLASSES];
        row[0] = 0; /* K >= 1, which the compiler cannot see */
        const struct plumb_classes p = { .logits = row, .K = K, .label = a->label[n] };
        losses[n] = 0;
        for (int k = 0; k < K; k++)
            row[k] = p.label < 0 ? 0 : logits[k];
        if (p.label >= 0)
            losses[n] = round == PLUMB_F64 ? plumb_classes_eval((int)a->loss, &p)
                                           : plumb_classes_plain((int)a->loss, row, K, p.label);
        for (int k = 0; dlogits && k < K; k++)
            dlogits[n * K + k] = plumb_dtype_round(round, row[k] / a->divisor);
    }
}
