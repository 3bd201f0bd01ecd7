/* Sampling of texts with continuous batching: prompts are admitted while there is room in the
 * cache, read in pieces beside the texts that are being written, and each prompt's keys and values
 * serve all of its samples. It runs the training forward in its batch-invariant form and the head
 * of training, so a text and its log-probs depend neither on what else is in the batch nor on the
 * sizes below, and a token's `logp` has the bits that a training pass gives it. */
#pragma once
#include "runtime/head.h"
#include "runtime/kvcache.h"

struct plumb_generate_size {
    int64_t tokens;  /* of the cache, prompts and samples together */
    int64_t rows;    /* of a step: at least `texts`; what is left reads prompts */
    int64_t texts;   /* written at a time */
    int64_t prompts; /* longest prompt */
    int64_t most;    /* most new tokens of a text */
    int64_t biases;  /* tokens with a bias, at most */
    bool penalty;    /* whether there may be a repetition penalty */
};

/* How tokens are chosen; see plumb/sample.h. */
struct plumb_generation_config {
    double temperature; /* 0 = greedy: the likeliest token after penalty and bias */
    int64_t top_k;
    double top_p, min_p, repetition_penalty;
    int64_t biases;
    const int32_t *bias_token;
    const float *bias;      /* added to logits before the temperature */
    int64_t max_new_tokens; /* at most the size's `most` */
    const int32_t *stop;    /* a text ends behind one of these, which it keeps */
    int64_t stops;
};

struct plumb_prompt {
    const int32_t *id; /* (n), n >= 1; the caller's until the last of its samples is done */
    int64_t n, samples;
    uint64_t seed, sequence; /* sample k draws from sequence + k */
    int64_t index;           /* the caller's */
};

enum plumb_finish { PLUMB_FINISH_STOP, PLUMB_FINISH_LENGTH, PLUMB_FINISH_POSITIONS };

struct plumb_completion {
    struct plumb_prompt prompt;
    int64_t sample, count;
    const int32_t *id;          /* (count) */
    const double *logp;         /* (count) after temperature, before penalty, bias and truncation */
    const double *sampled_logp; /* (count) under the distribution drawn from; 0 where greedy */
    enum plumb_finish finish;   /* of a completion that is done */
};

/* Functions fail by passing on what they return. */
struct plumb_generate_io {
    void *self;
    int (*next)(void *self, struct plumb_prompt *out, bool *found); /* the next prompt, if any */
    /* After each new token; *stop ends the text as if by a stop token. NULL = not wanted. */
    int (*token)(void *self, const struct plumb_completion *so_far, bool *stop);
    int (*done)(void *self, const struct plumb_completion *c); /* in any order of prompts */
};

struct plumb_text_slot;   /* a text being written */
struct plumb_prompt_slot; /* a prompt whose texts are not all done */

struct plumb_generator {
    const struct plumb_model *m;
    struct plumb_generate_size size;
    struct plumb_arena *arena;
    struct plumb_kvcache cache;
    struct plumb_text_slot *text;     /* (texts) */
    struct plumb_prompt_slot *prompt; /* (texts), in order of admission */
    int64_t prompts, texts;           /* of them in use */
    int32_t *slot;                    /* (texts) of a step's choices */
    struct plumb_acts acts;
    struct plumb_head_out head;
    int32_t *ints;  /* a step's index arrays; see generate_step.c */
    uint64_t *keys; /* (3, texts) a step's keys of random numbers */
    struct plumb_tensor chosen, sampled_logp, bias;
    struct plumb_tensor host_chosen, host_logp, host_sampled_logp, host_bias;
    struct plumb_tensor sample_work;
};

/* Storage in `arena`, which must outlive the generator. Works on a counting arena. */
int plumb_generator_init(struct plumb_generator *g, const struct plumb_model *m,
                         const struct plumb_generate_size *size, struct plumb_arena *arena);
/* Completes all prompts. Fails with PLUMB_EINVAL on a prompt that does not fit the sizes, with
 * PLUMB_ENUM when logits are not finite. */
int plumb_generate(struct plumb_generator *g, const struct plumb_generation_config *how,
                   const struct plumb_generate_io *io);
/* The size for texts one after the other, of up to `tokens` in all. */
struct plumb_generate_size plumb_generate_alone(int64_t tokens);
/* The likeliest continuation of one prompt: up to max_new ids into out; *count = how many. Ends
 * early, without failing, where the generator's size does. */
int plumb_generate_greedy(struct plumb_generator *g, const int32_t *prompt, int64_t n,
                          int64_t max_new, const int32_t *stop, int64_t stops, int32_t *out,
                          int64_t *count);
