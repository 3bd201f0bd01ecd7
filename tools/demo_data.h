/* The files of `plumb demo` that are not trained but made: data sets in TRL's columns, tokenizer,
 * model configuration. */
#pragma once
#include <plumb/base.h>

struct plumb_demo_sizes {
    int64_t demonstrations, pairs, held_out; /* rows of sft.jsonl, pairs to train on and to test */
};
struct plumb_demo_counts {
    int64_t good; /* of the demonstrations */
};

/* Writes <dir>/sft.jsonl (prompt, completion), <dir>/pairs/train.jsonl and <dir>/pairs/test.jsonl
 * (prompt, chosen, rejected). Not all demonstrations are good: these waiters are mostly rude to
 * guests who do not say please, and mostly forget the last thing of a long order. Pairs are a good
 * and a bad answer to one prompt, with bad ones of all kinds. No prompt of the test is in the other
 * files. */
int plumb_demo_write_data(const char *dir, uint64_t seed, const struct plumb_demo_sizes *sizes,
                          struct plumb_demo_counts *counts);

/* Writes <dir>/tokenizer.json and tokenizer_config.json: byte-level BPE in which every word of the
 * world is one token and every other text falls apart into bytes. *vocab = its size. */
int plumb_demo_write_tokenizer(const char *dir, int64_t *vocab);
#define PLUMB_DEMO_EOS 1 /* its id */

#define PLUMB_DEMO_WIDTH 96
#define PLUMB_DEMO_FFN 256
#define PLUMB_DEMO_LAYERS 3
#define PLUMB_DEMO_STD 0.05 /* of the initial weights */
/* Writes model folder `dir`: tokenizer, configuration and random weights of a Llama of the sizes
 * above. *parameters = how many numbers it has. */
int plumb_demo_write_model(const char *dir, uint64_t seed, int64_t *parameters);
