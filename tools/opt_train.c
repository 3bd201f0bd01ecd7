/* Options shared by all training commands. Names, meanings and defaults are TRL's and
 * transformers' unless the help says otherwise. */
#include "tools/option_rows.h"
#include "tools/train_options.h"

#define C plumb_train_config
#define NONE PLUMB_OPT_NONE
#define ABOVE PLUMB_OPT_ABOVE_LO
#define BELOW PLUMB_OPT_BELOW_HI

static const char *const schedules[] = {
#define X(NAME, name) name,
    PLUMB_SCHEDULE_LIST(X)
#undef X
        NULL
};

const struct plumb_option plumb_model_rows[] = {
    R_TEXT(C, model_name_or_path, PLUMB_OPT_REQUIRED, NULL,
           "folder of a Hugging Face model, or a GGUF file; nothing is downloaded"),
    R_TEXT(C, tokenizer_name_or_path, NONE, NULL, "folder with another tokenizer than the model's"),
    R_TEXT(C, chat_template_path, NONE, NULL,
           "file with the chat template of conversations; None = the tokenizer's"),
    R_CHOICE(C, "dtype", dtype, "float32",
             "of weights and residual stream; float64 is for device ref",
             R_LIST(PLUMB_PRECISION_NAMES)),
    R_TRISTATE(C, bf16,
               "mixed precision: bf16 copies of the weights and activations, f32 master and "
               "gradients; None = where the processor has bf16, which is printed"),
    R_TEXT(C, device, 0, "auto",
           "cpu, ref (float64, slowly, as a check), cuda, cuda:<index> or cuda-sim (the CUDA code "
           "on the CPU, as a check); auto is cuda where there is one, else cpu"),
    R_END,
};

const struct plumb_option plumb_lora_rows[] = {
    R_BOOL(C, use_peft, "false",
           "train adapters beside frozen weights and write PEFT's folder; a model folder that "
           "holds adapters goes on with them"),
    R_INT(C, lora_r, 0, 1, 1 << 16, "16", "", "rank of the adapters"),
    R_FLOAT(C, lora_alpha, 0, 0, 1e6, "32", "", "they are added lora_alpha / lora_r times"),
    R_FLOAT(C, lora_dropout, BELOW, 0, 1, "0.05", "share of inputs",
            "dropped before the adapters; takes effect with --disable_dropout false, as in TRL"),
    R_NAMES(C, lora_target_modules, NULL,
            "modules that get adapters (q_proj, ...), or all-linear; None = PEFT's choice, q_proj "
            "and v_proj (c_attn, query_key_value)",
            NULL),
    R_NAMES(C, lora_modules_to_save, NULL,
            "modules trained whole beside the adapters, as lm_head; a reward model's score head is "
            "anyway",
            NULL),
    R_BOOL(C, use_rslora, "false", "divide by the root of lora_r"),
    R_BOOL(C, keep_quantized, "false",
           "with use_peft: the quantised matrices of a GGUF base stay so in memory and are "
           "expanded as they are used: less memory, more time, the same numbers"),
    R_END,
};

const struct plumb_option plumb_data_rows[] = {
    R_TEXT(C, dataset_name, PLUMB_OPT_REQUIRED, NULL,
           "JSONL, JSON or CSV file, plain, .gz or .zst, a pattern like 'data/*.jsonl', or a "
           "folder that holds SPLIT.jsonl or nothing but rows"),
    R_TEXT(C, dataset_train_split, 0, "train", "name of the training file in a dataset folder"),
    R_TEXT(C, dataset_test_split, 0, "test", "name of the evaluation file in a dataset folder"),
    R_TEXT(C, eval_dataset_name, NONE, NULL, "file of evaluation rows"),
    R_FLOAT(C, test_split_size, NONE | ABOVE | BELOW, 0, 1, NULL, "share of rows",
            "evaluate on rows taken from the training file"),
    R_CHOICE(C, "train_sampling_strategy", train_sampling_strategy, "random",
             "order of the training rows", R_LIST(PLUMB_SAMPLING_NAMES)),
    R_INT(C, max_length, NONE, 2, 1 << 24, "1024", "tokens",
          "longest sequence, prompt and completion together; longer ones are cut or dropped"),
    R_CHOICE(C, "dataset_format", dataset_format, "auto", PLUMB_FORMAT_HELP,
             R_LIST(PLUMB_FORMAT_NAMES)),
    R_TEXT(C, dataset_cache, PLUMB_OPT_NONE, NULL, PLUMB_CACHE_HELP),
    R_INT(C, dataset_memory_limit, 0, 0, 1 << 30, "1024", "MiB",
          "tokenised rows beyond this are kept in dataset_cache and streamed from there"),
    R_BOOL(C, skip_bad_rows, "false", "count and skip faulty rows instead of stopping"),
    R_BOOL(C, share_prompts, "true",
           "compute a prompt once for its completions: less time, the same results"),
    R_END,
};

const struct plumb_option plumb_optimizer_rows[] = {
    R_BOOL(C, gradient_checkpointing, "true",
           "recompute activations in backward: less memory, more time, the same numbers"),
    R_BOOL(C, disable_dropout, "true",
           "take the model's dropout as 0; false with a dropout above 0 is an error"),
    R_FLOAT(C, learning_rate, 0, 0, 1, "5e-5", "", "peak learning rate of AdamW"),
    R_CHOICE(C, "lr_scheduler_type", schedule.kind, "linear", "learning rate over the steps",
             schedules),
    R_DICT(C, lr_scheduler_kwargs,
           "num_cycles (cosine, cosine_with_min_lr), min_lr or min_lr_rate (cosine_with_min_lr), "
           "lr_end and power (polynomial), timescale (inverse_sqrt)"),
    R_FLOAT(C, warmup_steps, 0, 0, 1e12, "0", "steps", "below 1: a share of all steps"),
    R_FLOAT(C, warmup_ratio, 0, 0, 1, "0", "share of steps", "used when warmup_steps is 0"),
    R_FLOAT(C, adam_beta1, BELOW, 0, 1, "0.9", "", "decay of the gradient's mean"),
    R_FLOAT(C, adam_beta2, BELOW, 0, 1, "0.999", "", "decay of the squared gradient's mean"),
    R_FLOAT(C, adam_epsilon, ABOVE, 0, 1, "1e-8", "", "added to the root of the second moment"),
    R_FLOAT(C, weight_decay, 0, 0, 1e3, "0", "per unit of rate",
            "of matrices and embeddings alone"),
    R_FLOAT(C, max_grad_norm, 0, 0, INFINITY, "1", "", "clip the gradient's norm; 0 = never"),
    R_INT(C, per_device_train_batch_size, 0, 1, 1 << 20, "8", "rows", "of a micro-step"),
    R_INT(C, per_device_eval_batch_size, 0, 1, 1 << 20, "8", "rows", "of an evaluation step"),
    R_INT(C, gradient_accumulation_steps, 0, 1, 1 << 20, "1", "micro-steps", "in a step"),
    R_FLOAT(C, num_train_epochs, ABOVE, 0, 1e6, "3", "epochs", "passes over the training rows"),
    R_INT(C, max_steps, 0, -1, 1e12, "-1", "steps", "overrides num_train_epochs; -1 = by epochs"),
    R_INT(C, seed, 0, 0, 9007199254740992.0, "42", "", "of everything random"),
    R_INT(C, data_seed, NONE, 0, 9007199254740992.0, NULL, "", "of the rows' order; None = seed"),
    R_END,
};

const struct plumb_option plumb_output_rows[] = {
    R_TEXT(C, output_dir, 0, "trainer_output", "folder of the model, checkpoints and metrics"),
    R_BOOL(C, overwrite_output_dir, "false", "let a new run replace a run's files in output_dir"),
    R_TEXT(C, resume_from_checkpoint, NONE | PLUMB_OPT_BARE, NULL,
           "checkpoint folder, or true = the last one in output_dir"),
    R_CHOICE(C, "logging_strategy", logging_strategy, "steps", "when metrics are logged",
             R_LIST(PLUMB_INTERVAL_NAMES)),
    R_FLOAT(C, logging_steps, ABOVE, 0, 1e12, "10", "steps",
            "below 1: a share of all steps; fewer at the end have no line, train_loss has all"),
    R_BOOL(C, logging_first_step, "false", "log the first step too"),
    R_CHOICE(C, "eval_strategy", eval_strategy, "no", "when to evaluate",
             R_LIST(PLUMB_INTERVAL_NAMES)),
    R_FLOAT(C, eval_steps, NONE | ABOVE, 0, 1e12, NULL, "steps",
            "below 1: a share of all steps; None = logging_steps; the last step, too"),
    R_CHOICE(C, "save_strategy", save_strategy, "steps", "when to write a checkpoint",
             R_LIST(PLUMB_INTERVAL_NAMES)),
    R_FLOAT(C, save_steps, ABOVE, 0, 1e12, "500", "steps", "below 1: a share of all steps"),
    R_INT(C, save_total_limit, NONE, 1, 1e9, NULL, "checkpoints",
          "older ones are removed, the best one kept; None = all stay"),
    R_BOOL(C, load_best_model_at_end, "false", "end with the best evaluated checkpoint's weights"),
    R_TEXT(C, metric_for_best_model, NONE, NULL, "an evaluation metric; None = loss"),
    R_TRISTATE(C, greater_is_better, "None = unless the metric's name ends in loss"),
    R_BOOL(C, quiet, "false", "only warnings, no progress line"),
    R_END,
};
