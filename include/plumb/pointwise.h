/* Losses of single scores against targets: heads that rate one response, or one of its attributes,
 * at a time. Formulas: pointwise.def. */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_C

enum plumb_pointwise_loss {
#define PLUMB_FORMULA(ID, NAME, name, text) PLUMB_POINTWISE_##NAME = ID,
#include <plumb/pointwise.def>
#undef PLUMB_FORMULA
};

struct plumb_pointwise {
    size_t struct_bytes;
    enum plumb_pointwise_loss loss;
    int64_t N;                   /* scores; several heads of a response lie side by side */
    struct plumb_tensor score;   /* (N) in, f32 */
    struct plumb_tensor target;  /* (N) in, f32: a rating; bce: 0, 1 or a probability */
    struct plumb_tensor weight;  /* (N) in, f32: 0 = the target is missing: loss and gradient 0
                                  * whatever score and target hold; absent = 1 */
    double pos_weight;           /* bce: of target 1, > 0 */
    double divisor;              /* e.g. the targets that are there, of the whole step */
    struct plumb_tensor losses;  /* (N) out, f32, weighted, not divided */
    struct plumb_tensor dscore;  /* (N) out, f32; absent = evaluation */
};
/* Finite for all finite inputs (saturates). Deterministic. Fails: PLUMB_EINVAL naming the option
 * out of range. */
int plumb_pointwise(const struct plumb_device *dev, const struct plumb_pointwise *a);
void plumb_pointwise_ref(const struct plumb_pointwise *a, enum plumb_dtype round);
int plumb_pointwise_find(const char *name);
const char *plumb_pointwise_name(int id);

PLUMB_END_C
