/* Adapters in PEFT's form (huggingface.co/docs/peft): a folder with adapter_config.json and
 * adapter_model.safetensors beside a base model that stays as it is. */
#pragma once
#include <plumb/adapter.h>

#include "io/hf_model.h"

/* What new adapters are asked to be; PEFT's words. */
struct plumb_peft_wish {
    int64_t r;
    double lora_alpha, lora_dropout;
    bool use_rslora;
    const char *const *targets; /* (target_count) names of modules, "all-linear", or none: PEFT's
                                 * choice for the family */
    int64_t target_count;
    const char *const *saved; /* (saved_count) modules trained whole */
    int64_t saved_count;
};

/* Adapters of one model, and how the model's tensors and the trained flat buffer
 * (plumb_lora_params) name them. */
struct plumb_peft {
    struct plumb_lora lora; /* its arrays are this struct's */
    int64_t *whole;
    int64_t *tensor; /* (lora.count) the matrix of each adapter in the model's list of tensors */
    struct plumb_param *params; /* (param_count) of the trained buffer */
    int64_t param_count, elements;
    int64_t r;
    double lora_alpha;
    bool use_rslora;
    cJSON *config;                /* adapter_config.json */
    struct plumb_weights weights; /* of a folder */
};

/* New adapters for the model. A name that no module has is an error that lists those there are;
 * so is a module that cannot have one (the head, embeddings). A score head is always trained
 * whole, as PEFT does it. */
int plumb_peft_plan(struct plumb_peft *p, const struct plumb_hf_model *hf,
                    const struct plumb_peft_wish *wish);
/* Whether a path is a folder with adapters: it holds adapter_config.json. */
bool plumb_peft_is(const char *dir);
/* Rows of the score head that a folder's adapters bring, 0 without. */
int plumb_peft_labels(const char *dir, int64_t *labels);
/* The base model of an adapter folder: base_model_name_or_path as it stands or from the folder on;
 * and the above. */
int plumb_peft_base(const char *dir, char *path, size_t n, int64_t *labels);
/* The adapters of a folder, held against their base. A kind that changes numbers in a way not
 * built here (DoRA, biases, ranks by pattern, a changed base as of PiSSA), a tensor without its
 * partner, of a wrong shape or of no module is an error that names it. */
int plumb_peft_open(struct plumb_peft *p, const char *dir, const struct plumb_hf_model *hf);
void plumb_peft_release(struct plumb_peft *p); /* takes a zeroed one */

/* flat (elements, of `dtype`) = the folder's numbers, padding zero. */
int plumb_peft_read(const struct plumb_peft *p, const struct plumb_hf_model *hf,
                    enum plumb_dtype dtype, void *flat);
/* Writes the folder so that PEFT loads it: tensors of dtype `stored`, config with `base` as
 * base_model_name_or_path, and the tokenizer's files. */
int plumb_peft_write(const struct plumb_peft *p, const struct plumb_hf_model *hf, const char *dir,
                     const char *base, enum plumb_dtype dtype, const void *flat,
                     enum plumb_dtype stored);

/* The weights of an opened model from now on read with an adapter folder's added, `sign` times (-1
 * takes them off again): W + sign scale B A in f64; what is trained whole takes the base's place
 * (+1 alone). Memory: the adapters of one matrix in f64. */
int plumb_peft_merge(struct plumb_hf_model *hf, const char *dir, double sign);

/* Between the files of io/peft_*.c. */
#define PLUMB_PEFT_CONFIG "adapter_config.json"
/* A tensor of the file: A or B of an adapter, or of a module trained whole. */
enum plumb_peft_kind { PLUMB_PEFT_A, PLUMB_PEFT_B, PLUMB_PEFT_WHOLE };
struct plumb_peft_entry {
    char name[160];
    enum plumb_peft_kind kind;
    const struct plumb_hf_tensor *t; /* the model's */
    int rank;
    int64_t shape[2];
    int64_t at; /* in the flat buffer: its first row; WHOLE: what the model's places move by */
};
/* Entries of all adapters and whole tensors; *out is malloc'ed. */
int plumb_peft_entries(const struct plumb_peft *p, const struct plumb_hf_model *hf,
                       struct plumb_peft_entry **out, int64_t *count);
/* "model.layers.0.mlp.up_proj" of a tensor's name "….weight"; false where it is no weight. */
bool plumb_peft_module(const char *tensor, char *out, size_t n);
/* Fills p->params and the adapters' places. */
int plumb_peft_lay_out(struct plumb_peft *p, const struct plumb_hf_model *hf);
/* Reads dir/adapter_config.json into p. */
int plumb_peft_config_read(struct plumb_peft *p, const char *dir);
/* p->config of new adapters. */
int plumb_peft_config_make(struct plumb_peft *p, const struct plumb_hf_model *hf,
                           const struct plumb_peft_wish *wish);
