#include "tools/train_options.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#define PATHS "--model_name_or_path", "M", "--dataset_name", "D"

static int parse_dpo(struct plumb_options *o, struct plumb_dpo_config *c, int argc, char **argv)
{
    PLUMB_TRY(plumb_options_parse(o, &plumb_dpo_options, c, argc, argv));
    const int rc = plumb_dpo_config_finish(c);
    if (rc) plumb_options_release(o);
    return rc;
}
#define PARSE_DPO(o, c, ...)                                                                       \
    parse_dpo(o, c, (int)(sizeof((char *[]){ "dpo", PATHS, __VA_ARGS__ }) / sizeof(char *)),       \
              (char *[]){ "dpo", PATHS, __VA_ARGS__ })
#define EXPECT_FAULT(text, ...)                                                                    \
    do {                                                                                           \
        struct plumb_options o_;                                                                   \
        struct plumb_dpo_config c_;                                                                \
        cr_expect_eq(PARSE_DPO(&o_, &c_, __VA_ARGS__), PLUMB_EUSAGE);                              \
        cr_expect(strstr(plumb_errmsg(), text), "message was: %s", plumb_errmsg());                \
    } while (0)

/* TRL 1.16 and transformers 5.23: the values of DPOConfig() and TrainingArguments(). */
Test(train_options, defaults_of_dpo_are_trl_s)
{
    struct plumb_options o;
    struct plumb_dpo_config c;
    cr_assert_eq(PARSE_DPO(&o, &c, "--quiet"), PLUMB_OK, "%s", plumb_errmsg());
    const struct plumb_train_config *t = &c.train;
    cr_expect(c.beta == 0.1 && c.label_smoothing == 0 && c.loss_type.count == 1);
    cr_expect_str_eq(c.loss_type.item[0], "sigmoid");
    cr_expect(c.loss_weights.count == 0 && !c.precompute_ref_log_probs);
    cr_expect(t->learning_rate == 1e-6 && t->weight_decay == 0 && t->max_grad_norm == 1);
    cr_expect(t->adam_beta1 == 0.9 && t->adam_beta2 == 0.999 && t->adam_epsilon == 1e-8);
    cr_expect(t->per_device_train_batch_size == 8 && t->gradient_accumulation_steps == 1);
    cr_expect(t->num_train_epochs == 3 && t->max_steps == -1 && t->max_length == 1024);
    cr_expect(t->seed == 42 && t->data_seed == PLUMB_NONE_INT && t->warmup_steps == 0);
    cr_expect(t->schedule.kind == PLUMB_SCHEDULE_LINEAR && t->logging_steps == 10);
    cr_expect(t->save_steps == 500 && t->save_strategy == PLUMB_INTERVAL_STEPS);
    cr_expect(t->eval_strategy == PLUMB_INTERVAL_NO && isnan(t->eval_steps));
    cr_expect(t->train_sampling_strategy == PLUMB_SAMPLING_RANDOM && t->disable_dropout);
    cr_expect(t->dtype == PLUMB_PRECISION_F32 && t->bf16 == PLUMB_UNSET);
    cr_expect(t->gradient_checkpointing && c.truncation_mode == PLUMB_KEEP_START);
    plumb_options_release(&o);
}

Test(train_options, trainers_differ_where_trl_s_do)
{
    char *argv[] = { "x", PATHS };
    const int argc = sizeof argv / sizeof *argv;
    struct plumb_options o;
    struct plumb_sft_config sft;
    struct plumb_kto_config kto;
    struct plumb_reward_config reward;
    cr_assert_eq(plumb_options_parse(&o, &plumb_sft_options, &sft, argc, argv), PLUMB_OK);
    cr_expect(sft.train.learning_rate == 2e-5 && sft.completion_only_loss == PLUMB_UNSET);
    cr_expect_str_eq(sft.dataset_text_field, "text");
    plumb_options_release(&o);
    cr_assert_eq(plumb_options_parse(&o, &plumb_kto_options, &kto, argc, argv), PLUMB_OK);
    cr_expect(kto.train.learning_rate == 1e-6 && kto.desirable_weight == 1);
    cr_expect_eq(kto.train.train_sampling_strategy, PLUMB_SAMPLING_SEQUENTIAL);
    plumb_options_release(&o);
    cr_assert_eq(plumb_options_parse(&o, &plumb_reward_options, &reward, argc, argv), PLUMB_OK);
    cr_expect(reward.train.learning_rate == 1e-4 && isnan(reward.center_rewards_coefficient));
    plumb_options_release(&o);
}

/* A name twice in one command would make one of the two rows dead. */
Test(train_options, names_are_unique_in_each_command)
{
    const struct plumb_option_set *const sets[] = { &plumb_sft_options,   &plumb_dpo_options,
                                                    &plumb_cpo_options,   &plumb_orpo_options,
                                                    &plumb_tpo_options,   &plumb_kto_options,
                                                    &plumb_reward_options };
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        for (const struct plumb_option_group *g = sets[i]->groups; g->rows; g++)
            for (const struct plumb_option *r = g->rows; r->name; r++) {
                int same = 0;
                for (const struct plumb_option_group *h = sets[i]->groups; h->rows; h++)
                    for (const struct plumb_option *q = h->rows; q->name; q++)
                        same += strcmp(q->name, r->name) == 0;
                cr_expect_eq(same, 1, "%s stands %d times", r->name, same);
            }
}

Test(train_options, options_of_trl_that_change_nothing_are_accepted_and_others_refused)
{
    struct plumb_options o;
    struct plumb_dpo_config c;
    cr_expect_eq(PARSE_DPO(&o, &c, "--report_to", "none", "--fp16", "False", "--use_vllm=false",
                           "--dataset_num_proc", "8", "--optim", "adamw_torch",
                           "--attn_implementation", "flash_attention_2"),
                 PLUMB_OK, "%s", plumb_errmsg());
    plumb_options_release(&o);
    EXPECT_FAULT("--report_to wandb is not supported: metrics go to", "--report_to", "wandb");
    EXPECT_FAULT("--fp16 true is not supported: half precision", "--fp16");
    EXPECT_FAULT("--push_to_hub true is not supported", "--push_to_hub", "true");
    EXPECT_FAULT("--optim adafactor is not supported", "--optim", "adafactor");
}

Test(train_options, schedules_take_their_own_kwargs_alone)
{
    struct plumb_options o;
    struct plumb_dpo_config c;
    struct plumb_schedule s;
    cr_assert_eq(PARSE_DPO(&o, &c, "--lr_scheduler_type", "cosine_with_min_lr",
                           "--lr_scheduler_kwargs", "{\"min_lr\": 1e-7}", "--warmup_ratio", "0.1"),
                 PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(plumb_config_schedule(&c.train, 25, &s), PLUMB_OK);
    cr_expect(s.min_lr == 1e-7 && isnan(s.min_lr_rate) && s.warmup_steps == 3 && s.peak == 1e-6);
    plumb_options_release(&o);
    EXPECT_FAULT("min_lr means nothing to lr_scheduler_type linear", "--lr_scheduler_kwargs",
                 "{\"min_lr\": 1e-7}");
    EXPECT_FAULT("exactly one of min_lr and min_lr_rate", "--lr_scheduler_type",
                 "cosine_with_min_lr");
    EXPECT_FAULT("power wants a number > 0", "--lr_scheduler_type", "polynomial",
                 "--lr_scheduler_kwargs", "{\"power\": \"2\"}");
    EXPECT_FAULT("lr_end 1e-07 must be smaller", "--lr_scheduler_type", "polynomial",
                 "--learning_rate", "1e-8");
}

Test(train_options, contradictions_are_refused)
{
    EXPECT_FAULT("loss_weights has 1 values for 2 losses", "--loss_type", "sigmoid", "ipo",
                 "--loss_weights", "1");
    EXPECT_FAULT("loss_type names no loss", "--loss_type", "None");
    EXPECT_FAULT("load_best_model_at_end wants eval_strategy", "--load_best_model_at_end");
    EXPECT_FAULT("save_steps 10 is no multiple of eval_steps 4", "--load_best_model_at_end",
                 "--eval_strategy", "steps", "--eval_steps", "4", "--save_steps", "10");
    EXPECT_FAULT("both be counts or both be shares", "--load_best_model_at_end", "--eval_strategy",
                 "steps", "--eval_steps", "0.1", "--save_steps", "10");
    EXPECT_FAULT("float64 wants --device ref", "--dtype", "float64");
    EXPECT_FAULT("cannot use bfloat16", "--device", "ref", "--bf16");
    EXPECT_FAULT("max_steps 0", "--max_steps", "0");
    EXPECT_FAULT("save_steps 1.5", "--save_steps", "1.5");
    EXPECT_FAULT("both say what to evaluate on", "--eval_dataset_name", "f", "--test_split_size",
                 "0.1");
    EXPECT_FAULT("unknown option --leraning_rate: did you mean learning_rate?", "--leraning_rate",
                 "1");
}

Test(train_options, shares_of_steps_may_be_multiples_of_each_other)
{
    struct plumb_options o;
    struct plumb_dpo_config c;
    cr_expect_eq(PARSE_DPO(&o, &c, "--load_best_model_at_end", "--eval_strategy", "steps",
                           "--eval_steps", "0.1", "--save_steps", "0.3", "--bf16",
                           "--resume_from_checkpoint"),
                 PLUMB_OK, "%s", plumb_errmsg());
    cr_expect_str_eq(c.train.resume_from_checkpoint, "true");
    cr_expect_eq(c.train.bf16, PLUMB_YES);
    plumb_options_release(&o);
}
