/* Greedy continuation of one prompt with a cache of keys and values. Prefill and decoding run
 * the training forward in its batch-invariant form, so every position has the hidden state that
 * a training pass over the whole text has. */
#pragma once
#include "runtime/head.h"
#include "runtime/model.h"

struct plumb_kvcache {
    int64_t capacity, length;   /* tokens */
    /* the forest of one root over everything so far, whose last rows are the new ones; the
     * device's memory */
    struct plumb_forest whole;
    const int32_t *q_start, *q_count;
    struct plumb_tensor *k, *v; /* (layers) of (capacity, kv_heads * head_size), compute dtype */
};

struct plumb_generator {
    const struct plumb_model *m;
    struct plumb_arena *arena;
    struct plumb_kvcache cache;
};

/* Storage for texts of up to `capacity` tokens, prompt included, in `arena`. The rest of the
 * arena is used as scratch by plumb_generate. */
int plumb_generator_init(struct plumb_generator *g, const struct plumb_model *m, int64_t capacity,
                         struct plumb_arena *arena);
/* The pushes of both at most, on a counting arena; its `used` is left as init alone would. */
int plumb_generator_plan(const struct plumb_model *m, int64_t capacity, struct plumb_arena *arena);
/* Up to max_new ids after prompt[0..n), n >= 1: the argmax each time, ties to the smaller id;
 * stops after an id of stop[0..stops), which is kept. out has room for max_new; *count = how
 * many. Stops early, without failing, when the capacity is reached. */
int plumb_generate_greedy(struct plumb_generator *g, const int32_t *prompt, int64_t n,
                          int64_t max_new, const int32_t *stop, int64_t stops, int32_t *out,
                          int64_t *count);
