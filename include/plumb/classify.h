/* Losses of rows of class logits: process reward models, verdicts, ordered grades. Formulas:
 * classify.def. */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_C

enum plumb_classify_loss {
#define PLUMB_FORMULA(ID, NAME, name, text) PLUMB_CLASSIFY_##NAME = ID,
#include <plumb/classify.def>
#undef PLUMB_FORMULA
};
enum { PLUMB_CLASSES = 256 };    /* most classes */

struct plumb_classify {
    size_t struct_bytes;
    enum plumb_classify_loss loss;
    int64_t N, K;                /* rows; logits of a row, 1 .. PLUMB_CLASSES */
    struct plumb_tensor logits;  /* (N,K) in, f32 */
    const int32_t *label;        /* (N) softmax: class in [0, K); ordinal: grade in [0, K], how many
                                  * thresholds are passed; -1 = ignored: loss and gradient 0
                                  * whatever the logits hold. On a device another one gives NaN */
    double divisor;              /* e.g. the labelled rows of the whole step */
    struct plumb_tensor losses;  /* (N) out, f32, not divided */
    struct plumb_tensor dlogits; /* (N,K) out, f32; absent = evaluation; may be logits */
};
/* Finite for all finite inputs (saturates). Deterministic. Fails: PLUMB_EINVAL naming what is out
 * of range. */
int plumb_classify(const struct plumb_device *dev, const struct plumb_classify *a);
void plumb_classify_ref(const struct plumb_classify *a, enum plumb_dtype round);
int plumb_classify_find(const char *name);
const char *plumb_classify_name(int id);

PLUMB_END_C
