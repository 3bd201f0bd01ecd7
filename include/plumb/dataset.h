/* Tokenised examples: what io offers and algos consume. Column names and types are TRL's. */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_INTERNAL

enum plumb_dataset_type {
    PLUMB_DATA_LANGUAGE_MODELING, /* completion[0] = the whole text, prompt empty */
    PLUMB_DATA_PROMPT_ONLY,
    PLUMB_DATA_PROMPT_COMPLETION, /* completion[0] */
    PLUMB_DATA_PREFERENCE,        /* completion[0] = chosen, completion[1] = rejected */
    PLUMB_DATA_UNPAIRED,          /* completion[0] and label */
    PLUMB_DATA_RANKED             /* candidate[0 ..] and score[0 ..] */
};
const char *plumb_dataset_type_name(enum plumb_dataset_type t); /* "language modeling", ... */

/* What a dataset's rows look like. auto: the columns of the first row decide; where they can be
 * read in two ways, the set is not read. */
enum plumb_dataset_format {
    PLUMB_FORMAT_AUTO,
    PLUMB_FORMAT_TRL,
    PLUMB_FORMAT_OPENAI,
    PLUMB_FORMAT_SHAREGPT,
    PLUMB_FORMAT_ALPACA
};
#define PLUMB_FORMAT_NAMES "auto", "trl", "openai", "sharegpt", "alpaca"

struct plumb_ids {
    const int32_t *id;
    int64_t n;
};

struct plumb_example {
    int64_t row;                    /* 0-based row of the file, for messages */
    struct plumb_ids prompt;        /* empty for language modeling */
    struct plumb_ids completion[3]; /* the third: a gold answer beside a pair, else empty */
    const int32_t *trained;         /* (completion[0].n) 0 = the loss leaves this token out; NULL =
                                     * none is left out */
    int label;                      /* unpaired: 1 desirable, 0 not */
    double margin;                  /* preference: column `margin`, else 0 */
    bool has_ref_logps;             /* columns ref_chosen_logps, ref_rejected_logps / ref_logps */
    double ref_logps[2];            /* nats, sums over completion tokens */
    const struct plumb_ids *candidate; /* (candidates) ranked: completions of the prompt */
    const double *score;               /* (candidates) larger = better */
    int64_t candidates;                /* 0 in other types */
    struct plumb_ids kl_completion; /* unpaired: mismatched completion for the KL estimate; n =
                                     * 0: the trainer's rule */
};

/* An indexed set. `get` fills an example whose arrays stay valid until the set is released. */
struct plumb_dataset {
    enum plumb_dataset_type type;
    int64_t count;
    int (*get)(void *self, int64_t index, struct plumb_example *out);
    void *self;
    uint64_t content_hash; /* of everything `get` returns */
};

PLUMB_END_INTERNAL
