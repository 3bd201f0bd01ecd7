/* Options of `plumb dpo`: TRL's DPOConfig. */
#include "tools/option_rows.h"
#include "tools/train_options.h"

#define C plumb_dpo_config

static const char *const losses[] = {
#define PLUMB_FORMULA(ID, NAME, name, source) #name,
#define PLUMB_FORMULA_FED(ID, NAME, name, source)
#include <plumb/pairwise.def>
#undef PLUMB_FORMULA
    NULL
};

static const struct plumb_option rows[] = {
    R_FLOAT(C, beta, PLUMB_OPT_ABOVE_LO, 0, 1e3, "0.1", "1/nat",
            "strength of the pull to the reference model"),
    R_NAMES(C, loss_type, "sigmoid", "one loss, or several that are summed with loss_weights",
            losses),
    R_FLOATS(C, loss_weights, -1e6, 1e6, NULL, "", "one for each of loss_type; None = 1 each"),
    R_FLOAT(C, label_smoothing, PLUMB_OPT_BELOW_HI, 0, 0.5, "0", "share of pairs",
            "share of labels taken as swapped; with sigmoid this is conservative DPO, which TRL "
            "1.16 ignores; robust corrects for it, exo_pair needs it"),
    R_FLOAT(C, discopop_tau, PLUMB_OPT_ABOVE_LO, 0, 1e3, "0.05", "",
            "temperature of loss_type discopop"),
    R_CHOICE(C, "f_divergence_type", f_divergence_type, "reverse_kl",
             "divergence from the reference model that the losses of a difference of log-ratios "
             "answer to",
             R_LIST("reverse_kl", "forward_kl", "js_divergence", "alpha_divergence")),
    R_FLOAT(C, f_alpha_divergence_coef, 0, -1e3, 1e3, "0.5", "", "alpha of alpha_divergence"),
    R_FLOAT(C, ld_alpha, PLUMB_OPT_NONE, 0, 1, NULL, "",
            "what a token counts beyond the length of its pair's shorter completion, in the "
            "policy's log-probs and the reference's; None = as any other"),
    R_BOOL(C, use_weighting, "false",
           "weigh pairs by how likely the policy finds both completions (WPO)"),
    R_CHOICE(C, "truncation_mode", truncation_mode, "keep_start",
             "which end of a sequence over max_length stays", R_LIST(PLUMB_TRUNCATION_NAMES)),
    R_BOOL(C, precompute_ref_log_probs, "false",
           "compute the reference model's log-probs once before training and drop the model"),
    R_INT(C, precompute_ref_batch_size, PLUMB_OPT_NONE, 1, 1 << 20, NULL, "rows",
          "of a step of that computation; None = per_device_train_batch_size"),
    R_END,
};

static const struct plumb_option fixed[] = {
    R_ONLY(sync_ref_model, "a moving reference model is not built", "false"),
    R_ANY(ref_model_mixup_alpha, "has no effect without sync_ref_model"),
    R_ANY(ref_model_sync_steps, "has no effect without sync_ref_model"),
    R_END,
};

static const struct plumb_option_group groups[] = {
    { "Direct preference optimization", rows, 0 },
    PLUMB_TRAIN_GROUPS(C),
    { "and of direct preference optimization", fixed, 0 },
    { NULL },
};
static const struct plumb_option_default defaults[] = { { "learning_rate", "1e-6" }, { NULL } };
const struct plumb_option_set plumb_dpo_options = { groups, defaults, 0 };
