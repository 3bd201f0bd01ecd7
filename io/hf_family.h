/* What config.json may say: a row per model family and a row per key. Reading the file
 * (hf_config.c) and naming its tensors (hf_names.c) walk these tables. */
#pragma once
#include <plumb/model.h>

/* One bit a family, for the sets of families that a key belongs to. */
enum {
    PLUMB_HF_LLAMA = 1,
    PLUMB_HF_MISTRAL = 2,
    PLUMB_HF_QWEN2 = 4,
    PLUMB_HF_QWEN3 = 8,
    PLUMB_HF_GPT2 = 16,
    PLUMB_HF_NEOX = 32,
    PLUMB_HF_GEMMA = 64,
    PLUMB_HF_ALL = 127
};

#define PLUMB_HF_CLASSIFIER "ForSequenceClassification" /* ends the classes with a score head */

struct plumb_hf_family {
    const char *model_type;
    unsigned bit;
    const char *stem, *causal;        /* of class names: "Llama", "ForCausalLM" */
    const char *tensors;              /* prefix of tensor names below the head */
    bool gated;                       /* the MLP */
    bool scale_embedding;             /* by sqrt(D) */
    double rotary_share;              /* of a head, where the file says nothing */
    struct plumb_model_config traits; /* what no key says, and defaults of what keys may say */
};

const struct plumb_hf_family *plumb_hf_family_find(const char *model_type); /* NULL without one */
/* The names of all families, comma-separated. */
const char *plumb_hf_family_list(char *out, size_t n);

enum plumb_hf_key_kind {
    PLUMB_HF_SIZE,    /* a count, into an int64_t field */
    PLUMB_HF_REAL,    /* a number, into a double field */
    PLUMB_HF_FLAG,    /* true or false, into a bool field */
    PLUMB_HF_ID,      /* a token id or a list of them, the first into an int32_t field */
    PLUMB_HF_ACT,     /* the name of an activation */
    PLUMB_HF_DROPOUT, /* a probability that training would apply */
    PLUMB_HF_MUST, /* changes numbers in a way not built here: only `absent`, null or empty pass */
    PLUMB_HF_KNOWN /* changes no number, or is read where its meaning needs several keys */
};

#define PLUMB_HF_REQUIRED (-2.0) /* no default: the file must say it */
#define PLUMB_HF_DERIVED (-1.0)  /* follows from other fields (hf_config.c) */

struct plumb_hf_key {
    const char *name;
    unsigned families;
    enum plumb_hf_key_kind kind;
    size_t field;        /* offset in struct plumb_model_config */
    double absent, null; /* value when the key is missing, and when it is null */
};

/* Rows; a key that fills two fields has two. */
extern const struct plumb_hf_key plumb_hf_keys[];
extern const size_t plumb_hf_key_count;
