/* The option tables of the training commands, and what one table row cannot check. */
#pragma once
#include "algos/config.h"
#include "tools/options.h"

/* Help that several commands share. */
#define PLUMB_FORMAT_HELP                                                                          \
    "what rows look like; auto goes by their columns and refuses those that can be read in two "   \
    "ways"
#define PLUMB_CACHE_HELP                                                                           \
    "folder for indexes of tokenised rows, which later runs use and large sets are streamed "      \
    "from; None = rows in memory, in training OUTPUT_DIR/dataset_cache for sets over "             \
    "dataset_memory_limit"

/* Shared by all trainers; the model's by every command that runs one. */
extern const struct plumb_option plumb_model_rows[], plumb_lora_rows[], plumb_data_rows[],
    plumb_optimizer_rows[], plumb_output_rows[], plumb_fixed_rows[];

/* The shared groups for a struct that holds a struct plumb_train_config called `train`. */
/* clang-format off */
#define PLUMB_TRAIN_GROUPS(S) \
    { "Model", plumb_model_rows, offsetof(struct S, train) }, \
    { "Adapters (LoRA)", plumb_lora_rows, offsetof(struct S, train) }, \
    { "Data", plumb_data_rows, offsetof(struct S, train) }, \
    { "Optimizer", plumb_optimizer_rows, offsetof(struct S, train) }, \
    { "Output", plumb_output_rows, offsetof(struct S, train) }, \
    { "Options of TRL accepted only where they change nothing", plumb_fixed_rows, 0 }
/* clang-format on */

extern const struct plumb_option_set plumb_sft_options, plumb_distill_options, plumb_dpo_options,
    plumb_cpo_options,
    plumb_orpo_options, plumb_tpo_options, plumb_kto_options, plumb_bco_options,
    plumb_listwise_options, plumb_reward_options;

/* What the model's options alone may contradict each other in. Fails with PLUMB_EUSAGE. */
int plumb_train_config_check_device(const struct plumb_train_config *c);
/* After plumb_options_parse: reads lr_scheduler_kwargs into c->schedule and checks options
 * against each other. The steps and peak of the schedule are set later, by
 * plumb_config_schedule. Fails with PLUMB_EUSAGE. */
int plumb_train_config_finish(struct plumb_train_config *c);
int plumb_dpo_config_finish(struct plumb_dpo_config *c); /* these include the above */
int plumb_cpo_config_finish(struct plumb_cpo_config *c);
int plumb_tpo_config_finish(struct plumb_tpo_config *c);
int plumb_kto_config_finish(struct plumb_kto_config *c);
int plumb_listwise_config_finish(struct plumb_listwise_config *c);
