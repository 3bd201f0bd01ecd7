/* The held-out test of the demo: a model answers orders that no training data holds, and the
 * verifier judges. */
#pragma once
#include <plumb/dataset.h>
#include <plumb/text.h>

#include "io/hf_model.h"
#include "runtime/generate.h"
#include "tools/demo_world.h"

struct plumb_demo_reply {
    char text[PLUMB_DEMO_TEXT]; /* cut where it is longer */
    enum plumb_demo_verdict verdict;
};

struct plumb_demo_trial {
    struct plumb_hf_model hf;
    struct plumb_text text;
    struct plumb_dataset pairs;
    struct plumb_arena arena;
    struct plumb_model model;
    struct plumb_generator generator;
    char (*prompt)[PLUMB_DEMO_TEXT];         /* (pairs.count) */
    struct plumb_demo_reply *before, *after; /* (pairs.count) room for the caller's results */
};

/* A model of the shape and tokenizer of folder `model_dir`, and the prompts of a file of pairs.
 * Release also after failure. */
int plumb_demo_trial_open(struct plumb_demo_trial *t, const char *model_dir, const char *pairs);
void plumb_demo_trial_release(struct plumb_demo_trial *t); /* takes a zeroed one */
/* Answers the first `count` prompts greedily with these weights: a flat buffer as trainers hold it.
 * reply (count), NULL where only the number of good ones is wanted. */
int plumb_demo_trial_run(struct plumb_demo_trial *t, struct plumb_tensor weights, int64_t count,
                         struct plumb_demo_reply *reply, int64_t *good);
/* The same with the weights of a model folder. */
int plumb_demo_trial_folder(struct plumb_demo_trial *t, const char *dir, int64_t count,
                            struct plumb_demo_reply *reply, int64_t *good);
