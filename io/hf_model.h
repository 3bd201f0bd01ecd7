/* Model folders as Hugging Face's transformers keeps them: opened, read into a flat parameter
 * buffer (plumb/model.h), and written. */
#pragma once
#include "io/hf_config.h"
#include "io/hf_names.h"
#include "io/weights.h"

struct plumb_hf_model {
    struct plumb_hf_config config;
    struct plumb_weights weights;    /* may be released after reading: writing needs none */
    struct plumb_param *params;      /* in flat-buffer order */
    int64_t param_count, elements;   /* elements of one flat buffer, padding included */
    struct plumb_hf_tensor *tensors; /* what a folder of this model holds */
    int64_t tensor_count;
    int64_t *source;    /* (tensor_count) index in weights, -1 for a missing score head */
    bool score_missing; /* the config wants a score head that the folder lacks */
    char *dir;          /* where tokenizer files come from (a GGUF file too; of adapters their
                         * base's), NULL without */
    const char *tokenizer_dir; /* the caller's, NULL = dir: they come from here */
    const char *chat_template; /* the caller's, NULL = theirs: a file that replaces it */
};

/* Opens a folder, a GGUF file (its name ends in .gguf), or a folder of adapters (io/peft.h), which
 * are added to their base, and matches its tensors with the config:
 * a missing tensor or a wrong shape is an error that names it, an unused tensor a warning. Reads no
 * weights. `num_labels` > 0 asks for a score head of so many rows whatever the folder holds (a
 * reward model from a language model); 0 takes the folder as it is. */
int plumb_hf_model_open(struct plumb_hf_model *m, const char *dir, int64_t num_labels);
/* The same for weights of another format, under Hugging Face's names and layouts; takes over both,
 * also on failure. */
int plumb_hf_model_from(struct plumb_hf_model *m, struct plumb_hf_config *config,
                        struct plumb_weights *weights, int64_t num_labels);
/* A model that no folder holds yet, from its config alone: to be written, not read. Takes the
 * config over, also on failure. */
int plumb_hf_model_plan(struct plumb_hf_model *m, struct plumb_hf_config *config);
void plumb_hf_model_release(struct plumb_hf_model *m); /* takes a zeroed one */

/* flat (elements) of `dtype`, a float type, out: every parameter at its offset, padding zero. A
 * number that is not finite is PLUMB_ENUM naming tensor and place. A missing score head is an error
 * unless `new_score`: then its rows are zero and the caller sets them. Cost: one pass over the
 * file, whose pages are dropped from memory behind it. */
int plumb_hf_model_read(const struct plumb_hf_model *m, enum plumb_dtype dtype, void *flat,
                        bool new_score);

/* Writes folder `dir` so that transformers loads it: model.safetensors (or shards over 5 GB) of
 * dtype `stored` from flat (elements, of `dtype`), config.json, and the original's generation
 * config and tokenizer files. */
int plumb_hf_model_write(const struct plumb_hf_model *m, const char *dir, enum plumb_dtype dtype,
                         const void *flat, enum plumb_dtype stored);
/* The tokenizer's files alone, with the chat template, into an existing folder. */
int plumb_hf_model_write_text(const struct plumb_hf_model *m, const char *dir);
/* The same from m's own weights, which stream through: no training between. With `stored` =
 * PLUMB_DTYPES every tensor keeps its dtype and config.json its text (F32 where it is none of the
 * four that are written). `shard_bytes` as in safetensors.h. A number that is not finite, or that
 * `stored` does not hold, is PLUMB_ENUM naming tensor and place. */
int plumb_hf_model_copy(const struct plumb_hf_model *m, const char *dir, enum plumb_dtype stored,
                        int64_t shard_bytes);
/* The tensor of a Hugging Face name, NULL without one. */
const struct plumb_hf_tensor *plumb_hf_model_find(const struct plumb_hf_model *m, const char *name);
