/* Options of `plumb reward`: TRL's RewardConfig. */
#include "tools/option_rows.h"
#include "tools/train_options.h"

#define C plumb_reward_config

static const struct plumb_option rows[] = {
    R_FLOAT(C, center_rewards_coefficient, PLUMB_OPT_NONE, 0, 1e6, NULL, "",
            "weight of (reward of chosen + reward of rejected)^2"),
    R_TEXT(C, initial_head, PLUMB_OPT_NONE, NULL,
           "JSON file with the scalar head's first weights; None = the model's own, else drawn"),
    R_END,
};

static const struct plumb_option fixed[] = {
    R_ONLY(eos_token, "the tokenizer's is used", "None"),
    R_END,
};

static const struct plumb_option_group groups[] = {
    { "Reward model", rows, 0 },
    PLUMB_TRAIN_GROUPS(C),
    { "and of reward models", fixed, 0 },
    { NULL },
};
static const struct plumb_option_default defaults[] = { { "learning_rate", "1e-4" }, { NULL } };
const struct plumb_option_set plumb_reward_options = { groups, defaults, 0 };
