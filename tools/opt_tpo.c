/* Options of `plumb tpo`: TRL's TPOConfig. */
#include "tools/option_rows.h"
#include "tools/train_options.h"

#define C plumb_tpo_config

static const struct plumb_option rows[] = {
    R_CHOICE(C, "loss_type", loss_type, "sigmoid", "loss of a pair", R_LIST(PLUMB_TPO_LOSS_NAMES)),
    R_FLOAT(C, beta, PLUMB_OPT_ABOVE_LO, 0, 1e3, "0.01", "1/nat",
            "scale of the log-probs; for ipo the inverse of twice the wanted gap"),
    R_FLOAT(C, label_smoothing, 0, 0, 0.5, "0", "share of pairs",
            "share of labels taken as swapped; sigmoid and tpo-l"),
    R_FLOAT(C, tpo_alpha, 0, 0, 1e6, "1", "",
            "weight of the likelihood of the gold answers, a mean over their tokens; 0 leaves them "
            "out"),
    R_FLOAT(C, tpo_l_gamma, 0, -1e6, 1e6, "0.5", "", "margin of tpo-l"),
    R_CHOICE(C, "truncation_mode", truncation_mode, "keep_start",
             "which end of a sequence over max_length stays", R_LIST(PLUMB_TRUNCATION_NAMES)),
    R_END,
};

static const struct plumb_option_group groups[] = {
    { "Triple preference optimization", rows, 0 },
    PLUMB_TRAIN_GROUPS(C),
    { NULL },
};
static const struct plumb_option_default defaults[] = { { "learning_rate", "5e-7" }, { NULL } };
const struct plumb_option_set plumb_tpo_options = { groups, defaults, 0 };
