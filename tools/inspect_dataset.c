/* `plumb inspect --dataset`. */
#include "tools/inspect_dataset.h"

#include <stdlib.h>
#include <unistd.h>

#include "io/chat.h"
#include "io/dataset_show.h"
#include "io/gguf_model.h"
#include "io/hf_config.h"
#include "io/tokenizer.h"
#include "tools/dataset_cache.h"
#include "tools/dataset_files.h"
#include "tools/option_rows.h"
#include "tools/train_options.h"

#define C plumb_inspect_dataset

static const struct {
    const char *name;
    enum plumb_dataset_use use;
} trainers[] = {
    { "any", PLUMB_USE_ANY },        { "sft", PLUMB_USE_SFT },
    { "dpo", PLUMB_USE_PREFERENCE }, { "reward", PLUMB_USE_REWARD },
    { "kto", PLUMB_USE_UNPAIRED },   { "prompts", PLUMB_USE_PROMPTS },
    { "tpo", PLUMB_USE_TRIPLES },    { "listwise", PLUMB_USE_LISTS },
    { "bco", PLUMB_USE_UNPAIRED },   { "orpo", PLUMB_USE_PREFERENCE },
    { "cpo", PLUMB_USE_PREFERENCE }, { "distill", PLUMB_USE_SFT },
};
static const char *const trainer_names[] = { "any",     "sft",     "dpo",      "reward", "kto",
                                             "prompts", "tpo",     "listwise", "bco",    "orpo",
                                             "cpo",     "distill", NULL };

const struct plumb_option plumb_inspect_dataset_rows[] = {
    R_TEXT(C, dataset, PLUMB_OPT_NONE, NULL,
           "JSONL, JSON or CSV file, plain, .gz or .zst, a pattern like 'data/*.jsonl', or a "
           "folder that holds SPLIT.jsonl or nothing but rows"),
    R_TEXT(C, dataset_name, PLUMB_OPT_NONE, NULL, "the same by the name that trainers give it"),
    R_INT(C, index, PLUMB_OPT_NONE, 0, 1e12, NULL, "rows",
          "print this example alone; None = an overview and the first ones"),
    R_BOOL(C, stats, "false",
           "print an overview with histograms of lengths, repeated rows, equal sides of pairs"),
    R_TEXT(C, dataset_train_split, 0, "train", "name of the file in a dataset folder"),
    R_CHOICE(C, "trainer", trainer, "any", "read the rows as this trainer would; any = by columns",
             trainer_names),
    R_TEXT(C, tokenizer_name_or_path, PLUMB_OPT_NONE, NULL,
           "folder with another tokenizer than the model's"),
    R_TEXT(C, chat_template_path, PLUMB_OPT_NONE, NULL,
           "file with the chat template of conversations; None = the tokenizer's"),
    R_INT(C, first_row, 0, 0, 1e12, "0", "rows", "the first example printed token by token"),
    R_INT(C, rows, 0, 0, 1e9, "2", "rows", "examples printed token by token"),
    R_TEXT(C, dataset_text_field, 0, "text", "column of plain text"),
    R_INT(C, max_length, PLUMB_OPT_NONE, 2, 1 << 24, "1024", "tokens", "longest sequence"),
    R_CHOICE(C, "truncation_mode", truncation_mode, "keep_start",
             "which end of a sequence over max_length stays", R_LIST(PLUMB_TRUNCATION_NAMES)),
    R_TRISTATE(C, completion_only_loss,
               "train on completion tokens alone; None = yes for rows of prompt and completion"),
    R_CHOICE(C, "dataset_format", dataset_format, "auto", PLUMB_FORMAT_HELP,
             R_LIST(PLUMB_FORMAT_NAMES)),
    R_BOOL(C, assistant_only_loss, "false",
           "of conversations for sft, train on the assistant's tokens alone"),
    R_TEXT(C, dataset_cache, PLUMB_OPT_NONE, NULL, PLUMB_CACHE_HELP),
    R_BOOL(C, skip_bad_rows, "false", "count and skip faulty rows instead of stopping"),
    R_END,
};

static int show(const struct plumb_inspect_dataset *c, const struct plumb_dataset *set,
                const struct plumb_text *text)
{
    const char *none = getenv("NO_COLOR"); /* no-color.org: set and not empty */
    const bool colour = isatty(STDOUT_FILENO) == 1 && !(none && *none);
    if (c->index != PLUMB_NONE_INT)
        return plumb_dataset_show_example(stdout, set, text, c->index, colour);
    PLUMB_TRY(plumb_dataset_show(stdout, set, text));
    if (c->stats) return plumb_dataset_show_stats(stdout, set, text);
    for (int64_t i = 0; i < c->rows && c->first_row + i < set->count; i++)
        PLUMB_TRY(plumb_dataset_show_example(stdout, set, text, c->first_row + i, colour));
    return PLUMB_OK;
}

const char *plumb_inspect_dataset_name(const struct plumb_inspect_dataset *c)
{
    return c->dataset ? c->dataset : c->dataset_name;
}

static int open_set(const char *model, const struct plumb_inspect_dataset *c,
                    const struct plumb_dataset_files *files,
                    const struct plumb_text *text, struct plumb_chat *chat, int64_t vocab,
                    struct plumb_dataset *set)
{
    struct plumb_dataset_cache cache;
    struct plumb_dataset_options o = {
        .paths = (const char *const *)files->path,
        .path_count = files->count,
        .use = trainers[c->trainer].use,
        .format = c->dataset_format,
        .text = text,
        .chat = chat,
        .vocab_size = vocab,
        .text_field = c->dataset_text_field,
        .max_length = c->max_length == PLUMB_NONE_INT ? 0 : c->max_length,
        .keep_end = c->truncation_mode == PLUMB_KEEP_END,
        .train_on_prompt = c->completion_only_loss == PLUMB_NO,
        .assistant_only = c->assistant_only_loss,
        .skip_bad_rows = c->skip_bad_rows,
    };
    const char *tokenizer = c->tokenizer_name_or_path ? c->tokenizer_name_or_path : model;
    PLUMB_TRY(plumb_dataset_cache_find(&cache, c->dataset_cache, NULL, 0, tokenizer, &o));
    return plumb_dataset_open(&o, set);
}

static int read_config(const char *model, struct plumb_hf_config *config)
{
    struct plumb_weights weights;
    if (!plumb_gguf_is(model)) return plumb_hf_config_read(config, model);
    PLUMB_TRY(plumb_gguf_model(model, config, &weights));
    plumb_weights_release(&weights);
    return PLUMB_OK;
}

static int open_tokenizer(const char *path, struct plumb_text *text)
{
    return plumb_gguf_is(path) ? plumb_gguf_tokenizer(path, text)
                               : plumb_tokenizer_open(text, path);
}

int plumb_inspect_dataset(const char *model, const struct plumb_inspect_dataset *c)
{
    int rc = PLUMB_OK;
    if (c->dataset && c->dataset_name)
        return plumb_fail(PLUMB_EUSAGE, "--dataset and --dataset_name are two names of one option");
    struct plumb_hf_config config = { 0 };
    struct plumb_text text = { 0 };
    struct plumb_chat chat = { 0 };
    struct plumb_dataset_files files = { 0 };
    struct plumb_dataset set = { 0 };
    const char *tokenizer = c->tokenizer_name_or_path ? c->tokenizer_name_or_path : model;
    if (model) PLUMB_TRYG(read_config(model, &config));
    if (tokenizer) PLUMB_TRYG(open_tokenizer(tokenizer, &text));
    if (tokenizer) PLUMB_TRYG(plumb_chat_open(&chat, tokenizer, c->chat_template_path, &text));
    PLUMB_TRYG(plumb_dataset_files_find(plumb_inspect_dataset_name(c), c->dataset_train_split,
                                        false, &files));
    PLUMB_TRYG(open_set(model, c, &files, tokenizer ? &text : NULL, tokenizer ? &chat : NULL,
                        config.model.vocab, &set));
    PLUMB_TRYG(show(c, &set, tokenizer ? &text : NULL));
out:
    plumb_dataset_release(&set);
    plumb_dataset_files_release(&files);
    plumb_chat_release(&chat);
    plumb_tokenizer_release(&text);
    plumb_hf_config_release(&config);
    return rc;
}
