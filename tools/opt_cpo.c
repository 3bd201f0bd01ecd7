/* Options of `plumb cpo`: TRL's CPOConfig. */
#include "tools/option_rows.h"
#include "tools/train_options.h"

#define C plumb_cpo_config

static const struct plumb_option rows[] = {
    R_CHOICE(C, "loss_type", loss_type, "sigmoid",
             "loss of a pair; alphapo is simpo without the likelihood, whatever cpo_alpha says",
             R_LIST(PLUMB_CPO_LOSS_NAMES)),
    R_FLOAT(C, beta, PLUMB_OPT_ABOVE_LO, 0, 1e3, "0.1", "1/nat",
            "scale of the log-probs; for ipo the inverse of twice the wanted gap"),
    R_FLOAT(C, label_smoothing, 0, 0, 0.5, "0", "share of pairs",
            "share of labels taken as swapped; sigmoid, simpo and alphapo"),
    R_FLOAT(C, cpo_alpha, 0, 0, 1e6, "1", "",
            "weight of the likelihood of the chosen completions, a mean over their tokens"),
    R_FLOAT(C, simpo_gamma, 0, -1e6, 1e6, "0.5", "", "margin of simpo and alphapo"),
    R_FLOAT(C, alpha, 0, -1e3, 1e3, "0", "",
            "AlphaPO's shape (1 - p^-alpha) / alpha of what the loss compares; 0 = the log-probs "
            "themselves; not for ipo"),
    R_END,
};

static const struct plumb_option fixed[] = {
    R_ONLY(max_completion_length, "for encoder-decoder models; use --max_length", "None"),
    R_ONLY(is_encoder_decoder, "encoder-decoder models are not built", "None", "false"),
    R_ONLY(generate_during_eval, "see plumb generate", "false"),
    R_END,
};

static const struct plumb_option_group groups[] = {
    { "Contrastive preference optimization", rows, 0 },
    PLUMB_TRAIN_GROUPS(C),
    { "and of contrastive preference optimization", fixed, 0 },
    { NULL },
};
static const struct plumb_option_default defaults[] = { { "learning_rate", "1e-6" }, { NULL } };
const struct plumb_option_set plumb_cpo_options = { groups, defaults, 0 };
