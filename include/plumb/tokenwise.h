/* Losses by token of single completions that have a label or an advantage. Formulas:
 * tokenwise.def; those that judge a completion as a whole are in unpaired.def. */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_C

enum plumb_tokenwise_loss {
#define PLUMB_FORMULA(ID, NAME, name, text) PLUMB_TOKENWISE_##NAME = ID,
#include <plumb/tokenwise.def>
#undef PLUMB_FORMULA
};

struct plumb_tokenwise {
    size_t struct_bytes;
    enum plumb_tokenwise_loss loss;
    int64_t B;                   /* completions */
    const int32_t *offset;       /* (B+1) token runs */
    const int32_t *label;        /* (B) 1 good or correct, 0 not; NULL where no formula asks */
    struct plumb_tensor logp;    /* (offset[B]) in, f32: policy, per token */
    struct plumb_tensor ref_logp;/* (offset[B]) in, f32: the policy that sampled or the reference;
                                  * absent = 0 */
    struct plumb_tensor target;  /* (B) in, f32: advantage or share of correct answers; each formula
                                  * says which; absent = 0 */
    struct plumb_tensor weight;  /* (B) in, f32: of each completion; absent = 1 */
    double divisor;              /* e.g. tokens or completions of the whole step */
    struct plumb_tensor losses;  /* (B) out, f32: sums over tokens, weighted, not divided */
    struct plumb_tensor dlogp;   /* (offset[B]) out, f32; absent = evaluation */
    /* Read by the formulas that name them (kernels/tokenwise/<name>.h). */
    double undesirable_weight;   /* of completions with label 0 */
    double clip;                 /* at least 0 */
    double clamp_negative;       /* nft_token: above 0 */
    double normalize;            /* nft_token: 0, 1 or 2 */
};
/* Finite for all finite inputs (saturates). Deterministic; the bits of a completion depend on it
 * alone. Fails: PLUMB_EINVAL naming the argument. */
int plumb_tokenwise(const struct plumb_device *dev, const struct plumb_tokenwise *a);
void plumb_tokenwise_ref(const struct plumb_tokenwise *a, enum plumb_dtype round);
int plumb_tokenwise_find(const char *name);
const char *plumb_tokenwise_name(int id);

PLUMB_END_C
