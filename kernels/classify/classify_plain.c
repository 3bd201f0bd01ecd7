/* The classification formulas in plain f32: the oracle's yardstick. */
#include "kernels/classify/classify_eval.h"

#include <plumb/classify.h>

#include "kernels/classify/classify_plain.h"

double plumb_classes_plain(int id, double *z, int K, int label)
{
    float row[PLUMB_CLASSES] = { 0 };
    const struct plumb_classes p = { .logits = row, .K = K, .label = label };
    for (int k = 0; k < K; k++)
        row[k] = plumb_saturate(z[k]);
    const double loss = (double)plumb_classes_eval(id, &p);
    for (int k = 0; k < K; k++)
        z[k] = (double)row[k];
    return loss;
}
