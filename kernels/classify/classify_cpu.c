/* Native classification losses: formulas in f32, rows in parallel. Compiled once per instruction
 * set. */
#include <plumb/classify.h>

#include "kernels/classify/classify_eval.h"
#include "kernels/op.h"

int PLUMB_CPU_FN(plumb_classify_cpu)(const struct plumb_classify *a)
{
    const int K = (int)a->K;
    float *losses = a->losses.data, *dlogits = a->dlogits.data;
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < a->N; n++) {
        const float *logits = (const float *)a->logits.data + n * K;
        float row[PLUMB_CLASSES];
        row[0] = 0; /* K >= 1, which the compiler cannot see */
        const struct plumb_classes p = { .logits = row, .K = K, .label = a->label[n] };
        for (int k = 0; k < K; k++)
            row[k] = p.label < 0 ? 0 : logits[k];
        losses[n] = p.label < 0 ? 0 : plumb_finite(plumb_classes_eval((int)a->loss, &p));
        for (int k = 0; dlogits && k < K; k++)
            dlogits[n * K + k] = plumb_saturate((double)row[k] / a->divisor);
    }
    return PLUMB_OK;
}
