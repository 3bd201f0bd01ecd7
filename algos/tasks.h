/* The offline trainers as tasks of the shared loop. The config must outlive the task. */
#pragma once
#include "algos/trainer.h"

struct plumb_task plumb_task_sft(const struct plumb_sft_config *c);
/* Fails on an unknown loss_type, too many of them, or loss_weights of another length. */
struct plumb_dpo_task_options {
    const struct plumb_dpo_config *config;
    struct plumb_pairwise_term_list {
        int64_t count;
        int ids[8];
        double weights[8];
    } terms;
};
int plumb_task_dpo(const struct plumb_dpo_config *c, struct plumb_dpo_task_options *options,
                   struct plumb_task *out);
struct plumb_task plumb_task_kto(const struct plumb_kto_config *c);
struct plumb_task plumb_task_reward(const struct plumb_reward_config *c);
