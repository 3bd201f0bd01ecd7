/* What a classification formula sees: one row of logits, which it turns into their gradients in
 * place; it returns the loss in nats. */
#pragma once
#include "kernels/scalar.h"

struct plumb_class_place {
    int64_t first; /* of the row's logits */
    bool padded;   /* a place is left out after every 32, so that rows side by side in a device's
                    * shared memory lie in different banks */
};

struct plumb_classes {
    plumb_real *logits;
    int label; /* a class, or how many thresholds are passed */
    int K;
    struct plumb_class_place place;
};

PLUMB_HD plumb_real *plumb_class(const struct plumb_classes *p, int k)
{
    const int64_t e = p->place.first + k;
    return p->logits + (p->place.padded ? e + e / 32 : e);
}
