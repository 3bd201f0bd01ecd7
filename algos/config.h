/* What a training run is told: TRL's and transformers' option names as fields, filled from the
 * tables in tools/ (which hold defaults, bounds and help) or by a program. Strings belong to the
 * caller and outlive the run. */
#pragma once
#include "algos/schedule.h"
#include <plumb/dataset.h>
#include <plumb/pairwise.h>
PLUMB_BEGIN_C

/* None: NULL for strings, count 0 for lists, NaN for floats, PLUMB_NONE_INT for integers,
 * PLUMB_UNSET for the rest. */
#define PLUMB_NONE_INT INT64_MIN
enum plumb_tristate { PLUMB_UNSET = -1, PLUMB_NO = 0, PLUMB_YES = 1 };

struct plumb_strings {
    const char *const *item;
    int64_t count;
};
struct plumb_floats {
    const double *item;
    int64_t count;
};

/* Values of options with a fixed choice, in the order of the names beside them. */
enum plumb_interval { PLUMB_INTERVAL_NO, PLUMB_INTERVAL_STEPS, PLUMB_INTERVAL_EPOCH };
#define PLUMB_INTERVAL_NAMES "no", "steps", "epoch"
enum plumb_sampling { PLUMB_SAMPLING_RANDOM, PLUMB_SAMPLING_SEQUENTIAL };
#define PLUMB_SAMPLING_NAMES "random", "sequential"
enum plumb_truncation { PLUMB_KEEP_START, PLUMB_KEEP_END };
#define PLUMB_TRUNCATION_NAMES "keep_start", "keep_end"
enum plumb_precision { PLUMB_PRECISION_F32, PLUMB_PRECISION_BF16, PLUMB_PRECISION_F64 };
#define PLUMB_PRECISION_NAMES "float32", "bfloat16", "float64"

struct plumb_train_config {
    /* model */
    const char *model_name_or_path;     /* Hugging Face folder or GGUF file */
    const char *tokenizer_name_or_path; /* NULL = the model's */
    const char *chat_template_path;     /* a template's file; NULL = the tokenizer's */
    enum plumb_precision dtype;         /* of weights and residual stream */
    enum plumb_tristate bf16;           /* mixed precision; unset = where the processor has it */
    const char *device; /* as plumb_device_open has it, or "auto" */
    bool gradient_checkpointing; /* recompute a layer's activations in backward; changes
                                         * no number */
    bool disable_dropout;        /* the model's dropout counts as 0; else dropout > 0 is
                                         * refused */
    /* adapters: PEFT's LoRA */
    bool use_peft, use_rslora; /* train adapters; scale alpha / sqrt(r) instead of alpha / r */
    int64_t lora_r;
    double lora_alpha;
    bool keep_quantized; /* a GGUF base's matrices stay in their blocks */
    double lora_dropout; /* of the adapters' input; none with disable_dropout, as in TRL */
    struct plumb_strings lora_target_modules;  /* none: the family's usual ones */
    struct plumb_strings lora_modules_to_save; /* trained whole */
    /* data */
    const char *dataset_name; /* JSONL/JSON file, or folder holding <split>.jsonl */
    const char *dataset_train_split, *dataset_test_split;
    const char *eval_dataset_name; /* file of evaluation rows; NULL = the test split, if any */
    double test_split_size;        /* else this share of the training rows; NaN = none */
    enum plumb_sampling train_sampling_strategy;
    int64_t max_length; /* tokens a sequence; PLUMB_NONE_INT = no limit */
    enum plumb_dataset_format dataset_format;
    const char *dataset_cache;    /* folder of indexes; NULL = one in output_dir, when needed */
    int64_t dataset_memory_limit; /* MiB of tokenised rows that stay in memory without it */
    bool skip_bad_rows;
    bool share_prompts; /* compute a prompt once for its completions; changes no
                                         * row's result */
    /* optimizer */
    double learning_rate;
    struct plumb_schedule schedule;  /* kind and kwargs; peak and steps are set when the run's
                                         * length is known */
    const char *lr_scheduler_kwargs; /* as given, JSON; already read into `schedule` */
    double warmup_steps;             /* < 1: share of all steps */
    double warmup_ratio;             /* used when warmup_steps is 0 */
    double adam_beta1, adam_beta2, adam_epsilon, weight_decay;
    double max_grad_norm; /* 0 = no clipping */
    int64_t per_device_train_batch_size, per_device_eval_batch_size, gradient_accumulation_steps;
    double num_train_epochs;
    int64_t max_steps;       /* > 0 overrides num_train_epochs; -1 = from epochs */
    int64_t seed, data_seed; /* data_seed PLUMB_NONE_INT = seed */
    /* output */
    const char *output_dir;
    bool overwrite_output_dir, quiet;
    const char *resume_from_checkpoint; /* NULL, a checkpoint folder, or "true" = the last one in
                                         * output_dir */
    enum plumb_interval logging_strategy, eval_strategy, save_strategy;
    double logging_steps, eval_steps, save_steps; /* < 1: share of all steps; eval_steps NaN =
                                                   * logging_steps */
    bool logging_first_step;
    int64_t save_total_limit; /* PLUMB_NONE_INT = keep all */
    bool load_best_model_at_end;
    const char *metric_for_best_model;     /* NULL = loss */
    enum plumb_tristate greater_is_better; /* unset = not when the metric's name ends in loss */
};

struct plumb_sft_config {
    struct plumb_train_config train;
    int loss_type; /* enum plumb_supervised_loss */
    enum plumb_truncation truncation_mode;
    const char *dataset_text_field;           /* column of language-modeling rows */
    enum plumb_tristate completion_only_loss; /* unset = for rows with prompt and completion */
    bool assistant_only_loss;                 /* of conversations */
};

struct plumb_distill_config {
    struct plumb_train_config train;
    const char *teacher_model_name_or_path;
    int loss_type; /* enum plumb_divergence */
    double beta, alpha, temperature;
    enum plumb_truncation truncation_mode;    /* these three as in plumb_sft_config */
    const char *dataset_text_field;
    enum plumb_tristate completion_only_loss;
};

struct plumb_dpo_config {
    struct plumb_train_config train;
    double beta, label_smoothing;
    double discopop_tau;
    struct plumb_strings loss_type;   /* names of pairwise.def, summed */
    struct plumb_floats loss_weights; /* as many as loss_type; none = 1 each */
    enum plumb_f_divergence f_divergence_type;
    double f_alpha_divergence_coef;
    double ld_alpha;    /* NaN = none */
    bool use_weighting;
    enum plumb_truncation truncation_mode;
    bool precompute_ref_log_probs;
    int64_t precompute_ref_batch_size; /* PLUMB_NONE_INT = the training batch's */
};

enum plumb_cpo_loss {
    PLUMB_CPO_SIGMOID, PLUMB_CPO_HINGE, PLUMB_CPO_IPO, PLUMB_CPO_SIMPO, PLUMB_CPO_ALPHAPO
};
#define PLUMB_CPO_LOSS_NAMES "sigmoid", "hinge", "ipo", "simpo", "alphapo"

struct plumb_cpo_config {
    struct plumb_train_config train;
    enum plumb_cpo_loss loss_type;
    double beta, label_smoothing;
    double cpo_alpha;   /* of the likelihood; alphapo has none */
    double simpo_gamma; /* margin of simpo and alphapo */
    double alpha;       /* of what is compared: 0 = log-probs, else AlphaPO's shape of them */
};

struct plumb_orpo_config {
    struct plumb_train_config train;
    double beta;
};

enum plumb_tpo_loss { PLUMB_TPO_SIGMOID, PLUMB_TPO_HINGE, PLUMB_TPO_IPO, PLUMB_TPO_L };
#define PLUMB_TPO_LOSS_NAMES "sigmoid", "hinge", "ipo", "tpo-l"

struct plumb_tpo_config {
    struct plumb_train_config train;
    enum plumb_tpo_loss loss_type;
    double beta, label_smoothing;
    double tpo_alpha;   /* of the gold answer's likelihood; 0 leaves its tokens out */
    double tpo_l_gamma; /* margin of tpo-l */
    enum plumb_truncation truncation_mode;
};

struct plumb_kto_config {
    struct plumb_train_config train;
    int loss_type; /* enum plumb_unpaired_loss */
    double beta, desirable_weight, undesirable_weight;
    bool precompute_ref_log_probs;
    int64_t precompute_ref_batch_size;
};

struct plumb_bco_config {
    struct plumb_train_config train;
    double beta;
    bool precompute_ref_log_probs;
    int64_t precompute_ref_batch_size;
};

enum plumb_average { PLUMB_AVERAGE_LISTS, PLUMB_AVERAGE_PAIRS };
#define PLUMB_AVERAGE_NAMES "lists", "pairs"

struct plumb_listwise_config {
    struct plumb_train_config train;
    int loss_type; /* enum plumb_listwise_loss */
    enum plumb_average average;
    enum plumb_tristate reference_free; /* unset: for pro and rrhf, as for the next four, NaN */
    double beta, length_penalty, sft_weight, sft_length_penalty;
    double label_temperature, margin, lambda;
    int64_t top_k;
};

struct plumb_reward_config {
    struct plumb_train_config train;
    double center_rewards_coefficient; /* NaN = none */
    const char *initial_head;          /* JSON file of the scalar head's weights; NULL = from
                                         * the model or drawn */
};

/* An option counted in steps: itself when >= 1, else that share of all steps, rounded up. */
int64_t plumb_config_steps(double steps, int64_t total_steps);
/* Optimizer steps of a run over `rows` training rows (> 0): max_steps when it is positive, else
 * ceil(num_train_epochs * steps of an epoch). */
int64_t plumb_config_total_steps(const struct plumb_train_config *c, int64_t rows);
/* *out = c's schedule for a run of total_steps. Fails as plumb_schedule_check does. */
int plumb_config_schedule(const struct plumb_train_config *c, int64_t total_steps,
                          struct plumb_schedule *out);

PLUMB_END_C
