/* Datasets: JSONL, JSON and CSV files (plain, gzip or zstd) with TRL's columns become tokenised
 * examples. Everything is read, checked and tokenised when the set is opened, so that a bad row
 * stops a run before it starts. Memory: at most 80 times the unpacked rows (160 for CSV, where a
 * row can be a letter), plus 8 MiB, beside what a chat template writes. */
#pragma once
#include <plumb/dataset.h>
#include <plumb/text.h>

struct plumb_chat;

/* Who asks: it decides between types that the columns leave open. */
enum plumb_dataset_use {
    PLUMB_USE_ANY,        /* the columns alone */
    PLUMB_USE_SFT,        /* language modeling or prompt-completion */
    PLUMB_USE_PREFERENCE, /* pairs (DPO and its kin) */
    PLUMB_USE_REWARD,   /* pairs of whole sequences: prompt empty, too long ones dropped, not cut */
    PLUMB_USE_UNPAIRED, /* KTO; pairs are taken apart, 1000 rows at a time: chosen, then rejected */
    PLUMB_USE_PROMPTS,
    PLUMB_USE_TRIPLES, /* pairs with a third, gold answer in column `reference` (TPO) */
    PLUMB_USE_LISTS    /* several scored completions of a prompt */
};

struct plumb_dataset_options {
    const char *const *paths; /* one or more files with the same columns */
    int path_count;
    enum plumb_dataset_use use;
    enum plumb_dataset_format format;
    const struct plumb_text *text; /* during open only; NULL: tokenised columns */
    struct plumb_chat *chat;       /* during open only: of `text`, for conversations; NULL = none */
    int64_t vocab_size; /* of the model: ids must be below; 0 = the tokenizer's, none without one */
    const char *text_field; /* TRL's dataset_text_field; NULL = "text" */
    int64_t max_length; /* tokens of prompt + completion; 0 = no limit; prompt-only is never cut */
    bool keep_end;      /* truncation_mode keep_end: SFT only; others fail with PLUMB_ENOTSUP */
    bool train_on_prompt; /* completion_only_loss = False: prompt-completion as language modeling */
    bool assistant_only; /* assistant_only_loss: of conversations for SFT, the assistant's tokens */
    const char *cache;     /* folder of indexes (io/dataset_index.h); NULL = rows stay in memory */
    int64_t memory_limit;  /* bytes of rows beyond which they go there; 0 = at once */
    const char *text_path; /* what `text` was opened from; for `cache` */
    const char *program;   /* whose rules the rows follow; NULL = this version's */
    bool skip_bad_rows;    /* count and pass over bad rows instead of stopping at the first */
};

#define PLUMB_DATASET_MESSAGES 5

struct plumb_dataset_report {
    int64_t rows;                           /* in the files, bad ones included */
    int64_t skipped;                        /* bad rows, with skip_bad_rows */
    char *messages[PLUMB_DATASET_MESSAGES]; /* of the first of them; NULL where fewer */
    int64_t truncated;                      /* examples cut to max_length */
    int64_t dropped_long;  /* examples whose prompt alone (reward: any sequence) fills max_length */
    int64_t dropped_empty; /* examples without a token that could be predicted */
    int64_t boundary;      /* examples whose prompt lost tokens: it merged with its completion */
    int64_t straddled;     /* examples with a token that is only in part the assistant's */
};

/* Fails with PLUMB_EFORMAT "<file>:<line>: column "<name>": ..." on a bad row, with PLUMB_EINVAL
 * when the columns fit no type of `use`, the set is empty, text has no tokenizer or conversations
 * have no chat template. Warns (log) of skipped, dropped and cut rows. Tokens: BOS by the
 * tokenizer's post-processor before the prompt; EOS behind text, completion, chosen, rejected and
 * reference unless it stands there; tokenised columns as they are. Prompt and prompt+completion are
 * tokenised apart and the completion starts where they diverge (TRL 1.16).
 *
 * Where the first row's texts are conversations (lists of messages with a role), all are: rendered
 * whole by the chat template and tokenised once, with the tokens that the template writes and no
 * others. The prompt is rendered with the generation prompt, or, in prompt-only rows, so that it
 * goes on where a last message of the assistant ends. Pairs without a prompt have the messages that
 * they share as theirs. A row's `tools` and `chat_template_kwargs` reach the template.
 *
 * With `cache` rows are read from the index that an earlier call left there, if it is of the same
 * files, tokenizer, template and options; `get` gives the same examples, as long-lived.
 *
 * Rows in OpenAI's, ShareGPT's or Alpaca's form are put into TRL's columns first, as conversations;
 * docs/data.md says how.
 *
 * With assistant_only those tokens are trained on that stand for what {% generation %} blocks wrote
 * or, where the template has none, for what each assistant's message adds behind its generation
 * prompt: the conversation up to it is rendered, too, and must be how the whole begins. */
int plumb_dataset_open(const struct plumb_dataset_options *o, struct plumb_dataset *out);
const char *plumb_dataset_format_name(enum plumb_dataset_format f); /* "trl" */
const struct plumb_dataset_report *plumb_dataset_report(const struct plumb_dataset *set);
/* "<file>:<line>" of an example; cut to n bytes. */
void plumb_dataset_where(const struct plumb_dataset *set, int64_t index, char *out, size_t n);
void plumb_dataset_release(struct plumb_dataset *set); /* takes a zeroed one; leaves it zeroed */
