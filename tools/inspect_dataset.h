/* `plumb inspect --dataset`: which tokens a trainer would see, and which of them it would train
 * on. */
#pragma once
#include "algos/config.h"
#include "io/dataset.h"
#include "tools/options.h"

struct plumb_inspect_dataset {
    const char *dataset, *dataset_name; /* file or folder, under either name; NULL = none */
    int64_t index;                      /* PLUMB_NONE_INT = an overview */
    bool stats;
    const char *dataset_train_split;
    int trainer;                        /* by name, in the order of --help */
    const char *tokenizer_name_or_path; /* NULL = the model's */
    const char *chat_template_path;     /* NULL = the tokenizer's */
    int64_t first_row, rows;            /* examples printed token by token */
    const char *dataset_text_field;
    int64_t max_length;
    enum plumb_truncation truncation_mode;
    enum plumb_tristate completion_only_loss;
    enum plumb_dataset_format dataset_format;
    bool assistant_only_loss;
    const char *dataset_cache;
    bool skip_bad_rows;
};
extern const struct plumb_option plumb_inspect_dataset_rows[];
const char *plumb_inspect_dataset_name(const struct plumb_inspect_dataset *c);

/* Prints to standard output. `model` is a folder with config.json and tokenizer, or NULL for
 * sets of token ids. */
int plumb_inspect_dataset(const char *model, const struct plumb_inspect_dataset *c);
