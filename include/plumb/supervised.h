/* Likelihood losses per token. Formulas: supervised.def. How tokens are averaged is the caller's:
 * weights of 1 / (tokens of the sequence) with a divisor of sequences are a mean of means, rewards
 * of sequences as weights are reward-weighted likelihood. */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_C

enum plumb_supervised_loss {
#define PLUMB_FORMULA(ID, NAME, name, text) PLUMB_SUPERVISED_##NAME = ID,
#include <plumb/supervised.def>
#undef PLUMB_FORMULA
};

struct plumb_supervised {
    size_t struct_bytes;
    enum plumb_supervised_loss loss;
    int64_t M;                   /* tokens */
    struct plumb_tensor logp;    /* (M) in, f32 */
    const int32_t *target;       /* (M) -1 = not trained on: loss 0, gradient 0; NULL = all are */
    struct plumb_tensor weight;  /* (M) in, f32; absent = 1 */
    double divisor;              /* trained tokens of the whole step */
    struct plumb_tensor losses;  /* (M) out, f32, not divided */
    struct plumb_tensor dlogp;   /* (M) out, f32; absent = evaluation */
    /* Read by awr; the regression of the values is plumb_pointwise's square. */
    struct plumb_tensor reward;  /* (M) in, f32: of the token's segment */
    struct plumb_tensor value;   /* (M) in, f32: its prediction, no gradient; absent = 0 */
    double beta, max_weight;     /* > 0: temperature of the weights, in units of the reward, and
                                  * the largest weight */
};
int plumb_supervised(const struct plumb_device *dev, const struct plumb_supervised *a);
void plumb_supervised_ref(const struct plumb_supervised *a, enum plumb_dtype round);
int plumb_supervised_find(const char *name);
const char *plumb_supervised_name(int id);

PLUMB_END_C
