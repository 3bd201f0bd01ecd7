/* Options of `plumb orpo`: TRL's ORPOConfig. */
#include "tools/option_rows.h"
#include "tools/train_options.h"

#define C plumb_orpo_config

static const struct plumb_option rows[] = {
    R_FLOAT(C, beta, PLUMB_OPT_ABOVE_LO, 0, 1e3, "0.1", "",
            "weight of the odds ratio beside the likelihood (lambda in the paper)"),
    R_END,
};

static const struct plumb_option fixed[] = {
    R_ONLY(max_completion_length, "for encoder-decoder models; use --max_length", "None"),
    R_ONLY(is_encoder_decoder, "encoder-decoder models are not built", "None", "false"),
    R_ONLY(generate_during_eval, "see plumb generate", "false"),
    R_ANY(padding_value, "rows are packed without padding"),
    R_END,
};

static const struct plumb_option_group groups[] = {
    { "Odds ratio preference optimization", rows, 0 },
    PLUMB_TRAIN_GROUPS(C),
    { "and of odds ratio preference optimization", fixed, 0 },
    { NULL },
};
static const struct plumb_option_default defaults[] = { { "learning_rate", "1e-6" }, { NULL } };
const struct plumb_option_set plumb_orpo_options = { groups, defaults, 0 };
