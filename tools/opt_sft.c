/* Options of `plumb sft`: TRL's SFTConfig. */
#include "tools/option_rows.h"
#include "tools/train_options.h"

#define C plumb_sft_config

static const char *const losses[] = {
#define PLUMB_FORMULA(ID, NAME, name, source) #name,
#define PLUMB_FORMULA_FED(ID, NAME, name, source)
#include <plumb/supervised.def>
#undef PLUMB_FORMULA
    NULL
};

static const struct plumb_option rows[] = {
    R_CHOICE(C, "loss_type", loss_type, "nll", "loss of a token", losses),
    R_CHOICE(C, "truncation_mode", truncation_mode, "keep_start",
             "which end of a sequence over max_length stays", R_LIST(PLUMB_TRUNCATION_NAMES)),
    R_TEXT(C, dataset_text_field, 0, "text", "column of plain text"),
    R_TRISTATE(C, completion_only_loss,
               "train on completion tokens alone; None = yes for rows of prompt and completion"),
    R_BOOL(C, assistant_only_loss, "false",
           "of conversations, train on the assistant's tokens alone"),
    R_END,
};

static const struct plumb_option fixed[] = {
    R_ONLY(packing, "tokens are packed without padding in any case; a row stays a row", "false"),
    R_ANY(packing_strategy, "has no effect without packing"),
    R_ONLY(eval_packing, "see packing", "None", "false"),
    R_ONLY(eos_token, "the tokenizer's is used", "None"),
    R_ONLY(dataset_kwargs, "not built", "None", "{}"),
    R_ONLY(shuffle_dataset, "use --train_sampling_strategy", "false"),
    R_END,
};

static const struct plumb_option_group groups[] = {
    { "Supervised fine-tuning", rows, 0 },
    PLUMB_TRAIN_GROUPS(C),
    { "and of supervised fine-tuning", fixed, 0 },
    { NULL },
};
static const struct plumb_option_default defaults[] = {
    { "learning_rate", "2e-5" },
    { "disable_dropout", "false" },
    { NULL },
};
const struct plumb_option_set plumb_sft_options = { groups, defaults, 0 };
