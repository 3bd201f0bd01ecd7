/* Sum over thresholds k of -log s(z), z = logit k where label > k, else -logit k. */
#pragma once
#include "kernels/classify/classes.h"

PLUMB_HD plumb_real plumb_classes_ordinal(const struct plumb_classes *p)
{
    plumb_real sum = 0;
    for (int k = 0; k < p->K; k++) {
        const plumb_real side = p->label > k ? -1 : 1, z = side * *plumb_class(p, k);
        sum += plumb_softplus(z);
        *plumb_class(p, k) = side * plumb_sigmoid(z);
    }
    return sum;
}
