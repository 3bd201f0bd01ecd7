/* Options of `plumb kto`: TRL's KTOConfig. */
#include "tools/option_rows.h"
#include "tools/train_options.h"

#define C plumb_kto_config

static const char *const losses[] = {
#define PLUMB_FORMULA(ID, NAME, name, source) #name,
#define PLUMB_FORMULA_FED(ID, NAME, name, source)
#include <plumb/unpaired.def>
#undef PLUMB_FORMULA
    NULL
};

static const struct plumb_option rows[] = {
    R_CHOICE(C, "loss_type", loss_type, "kto", "loss of a row", losses),
    R_FLOAT(C, beta, PLUMB_OPT_ABOVE_LO, 0, 1e3, "0.1", "1/nat",
            "strength of the pull to the reference model"),
    R_FLOAT(C, desirable_weight, 0, 0, 1e6, "1", "", "of rows with label true"),
    R_FLOAT(C, undesirable_weight, 0, 0, 1e6, "1", "", "of rows with label false"),
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
    { "Kahneman-Tversky optimization", rows, 0 },
    PLUMB_TRAIN_GROUPS(C),
    { "and of Kahneman-Tversky optimization", fixed, 0 },
    { NULL },
};
static const struct plumb_option_default defaults[] = {
    { "learning_rate", "1e-6" },
    { "train_sampling_strategy", "sequential" },
    { NULL },
};
const struct plumb_option_set plumb_kto_options = { groups, defaults, 0 };
