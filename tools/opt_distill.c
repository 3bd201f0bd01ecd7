/* Options of `plumb distill`: TRL's DistillationConfig, on completions that are given. */
#include "tools/option_rows.h"
#include "tools/train_options.h"

#define C plumb_distill_config

static const char *const losses[] = {
#define PLUMB_FORMULA(ID, NAME, name, source) #name,
#include <plumb/distill.def>
#undef PLUMB_FORMULA
    NULL
};

static const struct plumb_option rows[] = {
    R_TEXT(C, teacher_model_name_or_path, PLUMB_OPT_REQUIRED, NULL,
           "folder or GGUF file of the model to learn from; same tokenizer, any width"),
    R_CHOICE(C, "loss_type", loss_type, "jsd", "divergence from the teacher at a token", losses),
    R_FLOAT(C, beta, 0, 0, 1, "1.0", "",
            "jsd: the teacher's share of the mixture; 0 = forward KL, 1 = reverse KL"),
    R_FLOAT(C, alpha, 0, -10, 10, "0.5", "", "alpha: the power; 1 = forward KL, 0 = reverse KL"),
    R_FLOAT(C, temperature, PLUMB_OPT_ABOVE_LO, 0, 1e3, "1.0", "",
            "divides the logits of both models"),
    R_CHOICE(C, "truncation_mode", truncation_mode, "keep_start",
             "which end of a sequence over max_length stays", R_LIST(PLUMB_TRUNCATION_NAMES)),
    R_TEXT(C, dataset_text_field, 0, "text", "column of plain text"),
    R_TRISTATE(C, completion_only_loss,
               "train on completion tokens alone; None = yes for rows of prompt and completion"),
    R_END,
};

static const struct plumb_option fixed[] = {
    R_ONLY(teacher_model_revision, "the teacher is a folder or file", "None"),
    R_ONLY(teacher_model_init_kwargs, "not built", "None", "{}"),
    R_ANY(max_completion_length, "completions come from the data: use --max_length"),
    R_ONLY(top_p, "completions come from the data", "1", "1.0"),
    R_ONLY(top_k, "completions come from the data", "0"),
    R_ONLY(use_vllm, "completions come from the data", "false"),
    R_ONLY(max_tool_calling_iterations, "completions come from the data", "None"),
    R_END,
};

static const struct plumb_option_group groups[] = {
    { "Distillation", rows, 0 },
    PLUMB_TRAIN_GROUPS(C),
    { "and of distillation", fixed, 0 },
    { NULL },
};
static const struct plumb_option_default defaults[] = {
    { "learning_rate", "1e-6" },
    { "disable_dropout", "false" },
    { NULL },
};
const struct plumb_option_set plumb_distill_options = { groups, defaults, 0 };
