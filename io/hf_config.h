/* config.json and generation_config.json of a Hugging Face model folder. */
#pragma once
#include <cJSON.h>
#include <plumb/model.h>

#include "io/hf_family.h"

#define PLUMB_HF_EOS 32

struct plumb_hf_config {
    struct plumb_model_config model; /* checked by plumb_model_params */
    const struct plumb_hf_family *family;
    enum plumb_dtype dtype;  /* of the stored weights as the file says; PLUMB_F32 if it does not */
    const char *dropout_key; /* a key that asks for dropout in training, NULL without one */
    double dropout;          /* its probability */
    int32_t
        eos[PLUMB_HF_EOS]; /* ids that end a text: generation_config.json's, else config.json's */
    int eos_count;
    cJSON *json; /* config.json, kept so that a written folder keeps its keys */
    char *text;  /* its text, for the spelling of its numbers */
};

/* Reads <dir>/config.json, and <dir>/generation_config.json if there is one. A key that changes
 * numbers and is not implemented is an error that names it; a key that nobody knows is a warning
 * that names it (plumb/log.h); a missing key without a default is an error. Dropout is reported,
 * not refused: see plumb_hf_config_check_dropout. Memory: at most 48 times the file, plus 8 MiB. */
int plumb_hf_config_read(struct plumb_hf_config *c, const char *dir);
/* The same from a text; `name` stands for the file in messages. No generation config. */
int plumb_hf_config_parse(struct plumb_hf_config *c, const char *text, size_t n, const char *name);
void plumb_hf_config_release(struct plumb_hf_config *c); /* takes a zeroed one */
/* Fails, naming the key, where transformers would apply dropout in training. */
int plumb_hf_config_check_dropout(const struct plumb_hf_config *c);
/* config.json of a model saved now: the original's keys, with architectures, labels and dtype as
 * c->model and `dtype` have them. The caller deletes it; NULL without memory. */
cJSON *plumb_hf_config_saved(const struct plumb_hf_config *c, enum plumb_dtype dtype);
