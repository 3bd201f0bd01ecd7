/* What is under way in a generator, and one step of it. */
#pragma once
#include "runtime/generate.h"

struct plumb_text_slot {
    bool live;
    int64_t sample, count, most; /* most new tokens */
    struct plumb_kvchain chain;  /* its tokens but the last, which is read next */
    int32_t *id;
    double *logp, *sampled_logp;
};

struct plumb_prompt_slot {
    struct plumb_prompt p;
    struct plumb_kvchain chain; /* as far as it is read */
    int64_t open;               /* texts that are not done */
    int32_t *texts;             /* (samples) their slots */
};

/* Reads the next pieces of prompts and one token of each text, and chooses the next tokens: fills
 * g->slot[0..*count) with the texts that have one; the values are in g's host_ arrays. */
int plumb_generate_step(struct plumb_generator *g, const struct plumb_generation_config *how,
                        int64_t *count);
/* The storage of a step; part of plumb_generator_init. */
int plumb_generate_step_init(struct plumb_generator *g);
/* Hands the run's biases to the device. */
int plumb_generate_send_bias(struct plumb_generator *g, const struct plumb_generation_config *how);
