/* Options of `plumb bco`: TRL's BCOConfig, as it was last released (0.24). */
#include "tools/option_rows.h"
#include "tools/train_options.h"

#define C plumb_bco_config
#define MATCHING "matching prompts by their embeddings is not built, as without an embedding_func"

static const struct plumb_option rows[] = {
    R_FLOAT(C, beta, PLUMB_OPT_ABOVE_LO, 0, 1e3, "0.1", "1/nat",
            "scale of the log-ratios to the reference model, which makes them rewards"),
    R_BOOL(C, precompute_ref_log_probs, "false",
           "compute the reference model's log-probs once before training and drop the model"),
    R_INT(C, precompute_ref_batch_size, PLUMB_OPT_NONE, 1, 1 << 20, NULL, "rows",
          "of a step of that computation; None = per_device_train_batch_size"),
    R_END,
};

static const struct plumb_option fixed[] = {
    R_ANY(prompt_sample_size, MATCHING),
    R_ANY(min_density_ratio, MATCHING),
    R_ANY(max_density_ratio, MATCHING),
    R_ONLY(max_prompt_length, "use --max_length", "None"),
    R_ONLY(max_completion_length, "for encoder-decoder models; use --max_length", "None"),
    R_ONLY(truncation_mode, "a completion is cut at its end", "keep_start"),
    R_ONLY(is_encoder_decoder, "encoder-decoder models are not built", "None", "false"),
    R_ONLY(generate_during_eval, "see plumb generate", "false"),
    R_ANY(padding_value, "rows are packed without padding"),
    R_ANY(label_pad_token_id, "rows are packed without padding"),
    R_END,
};

static const struct plumb_option_group groups[] = {
    { "Binary classifier optimization", rows, 0 },
    PLUMB_TRAIN_GROUPS(C),
    { "and of binary classifier optimization", fixed, 0 },
    { NULL },
};
static const struct plumb_option_default defaults[] = {
    { "learning_rate", "5e-7" },
    { "train_sampling_strategy", "sequential" },
    { NULL },
};
const struct plumb_option_set plumb_bco_options = { groups, defaults, 0 };
