/* Reward-model losses on scalar scores: chosen score 2i, rejected 2i+1. Formulas: reward.def. */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_C

enum plumb_reward_loss {
#define PLUMB_FORMULA(ID, NAME, name, text) PLUMB_REWARD_##NAME = ID,
#include <plumb/reward.def>
#undef PLUMB_FORMULA
};

struct plumb_reward {
    size_t struct_bytes;
    enum plumb_reward_loss loss;
    int64_t B;                   /* pairs */
    struct plumb_tensor score;   /* (2B) in, f32 */
    struct plumb_tensor margin;  /* (B) in, f32; absent = 0 */
    double center_coefficient;   /* of (s_c + s_r)^2; 0 = none */
    double divisor;
    struct plumb_tensor losses;  /* (B) out, f32, not divided */
    struct plumb_tensor dscore;  /* (2B) out, f32; absent = evaluation */
};
int plumb_reward(const struct plumb_device *dev, const struct plumb_reward *a);
void plumb_reward_ref(const struct plumb_reward *a, enum plumb_dtype round);
int plumb_reward_find(const char *name);
const char *plumb_reward_name(int id);

PLUMB_END_C
