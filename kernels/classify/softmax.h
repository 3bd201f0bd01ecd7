/* -log softmax(logits)[label]. */
#pragma once
#include "kernels/classify/classes.h"

PLUMB_HD plumb_real plumb_classes_softmax(const struct plumb_classes *p)
{
    /* all rows go the same way whatever their labels, so that a device's stay together */
    plumb_real top = *plumb_class(p, 0), own = top, others = 0, all = 0;
    for (int k = 1; k < p->K; k++) {
        const plumb_real z = *plumb_class(p, k);
        own = k == p->label ? z : own;
        top = z <= top ? top : z; /* NaN takes over */
    }
    for (int k = 0; k < p->K; k++) {
        const plumb_real e = plumb_exp(plumb_finite(*plumb_class(p, k) - top));
        const plumb_real other = k == p->label ? 0 : e;
        all += e, others += other;
        *plumb_class(p, k) = other;
    }
    for (int k = 0; k < p->K; k++)
        *plumb_class(p, k) = (*plumb_class(p, k) - (k == p->label ? others : 0)) / all;
    const plumb_real gap = plumb_finite(top - own);
    /* where the label has the top logit, its 1 is left out of the sum: log1p keeps small losses */
    return gap > 0 ? gap + plumb_log(all) : plumb_log1p(others);
}
