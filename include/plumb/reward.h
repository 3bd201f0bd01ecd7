/* Reward-model losses on pairs of scalar scores: chosen score 2i, rejected 2i+1. Formulas:
 * reward.def. Scores of segments (partial returns, sums of log-probs) come from plumb_segsum, which
 * discounts and scales them; losses of single scores and of classes are in pointwise.h and
 * classify.h. */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_C

enum plumb_reward_loss {
#define PLUMB_FORMULA(ID, NAME, name, text) PLUMB_REWARD_##NAME = ID,
#include <plumb/reward.def>
#undef PLUMB_FORMULA
};

/* losses[i] = weight (formula(chosen, rejected) + center_coefficient (chosen + rejected)^2
 *                     + square_coefficient (chosen^2 + rejected^2) / 2) */
struct plumb_reward {
    size_t struct_bytes;
    enum plumb_reward_loss loss;
    int64_t B;                   /* pairs */
    struct plumb_tensor score;   /* (2B) in, f32 */
    struct plumb_tensor margin;  /* (B) in, f32: taken from chosen - rejected; absent = 0 */
    struct plumb_tensor weight;  /* (B) in, f32: strength of the preference; 0 leaves a pair out,
                                  * whatever it holds; absent = 1 */
    double center_coefficient;   /* >= 0; TRL's center_rewards_coefficient */
    double square_coefficient;   /* >= 0; safe_rlhf's regularization */
    double divisor;
    struct plumb_tensor losses;  /* (B) out, f32, not divided */
    struct plumb_tensor dscore;  /* (2B) out, f32; absent = evaluation */
    /* Read by the formulas that name them (kernels/reward/<name>.h). */
    struct plumb_tensor target;  /* (B) in, f32: bradley_terry_soft: probability that chosen is
                                  * preferred; davidson, rao_kupper: 1 chosen won, 0 tie, -1
                                  * rejected won (anything else gives NaN) */
    struct plumb_tensor sign;    /* (2B) in, f32: cost_model: +1 safe, -1 unsafe */
    struct plumb_tensor anchor;  /* (2B) in, f32: gap: scores of chosen and of rejected each
                                  * compared with itself */
    struct plumb_tensor danchor; /* (2B) out, f32; absent with dscore absent or without anchor */
    double ties;                 /* davidson: nu > 0; rao_kupper: theta > 1 */
    double floor;                /* bradley_terry_floor: >= 0, below it no pair pulls harder */
    double lapse;                /* bradley_terry_lapse: in [0, 1), share of random answers */
    double bias;                 /* cpl: weight of the rejected score, finite */
};
/* Finite for all finite inputs (saturates). Deterministic. Fails: PLUMB_EINVAL naming the option
 * out of range or the tensor that the formula misses. */
int plumb_reward(const struct plumb_device *dev, const struct plumb_reward *a);
void plumb_reward_ref(const struct plumb_reward *a, enum plumb_dtype round);
int plumb_reward_find(const char *name);
const char *plumb_reward_name(int id);

PLUMB_END_C
