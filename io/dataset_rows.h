/* What the files of datasets share: columns, layouts and the rows behind a set. */
#pragma once
#include <cJSON.h>

#include "io/dataset.h"
#include "io/jinja.h"
#include "io/store.h"

enum plumb_column {
    PLUMB_COL_TEXT,
    PLUMB_COL_MESSAGES,
    PLUMB_COL_PROMPT,
    PLUMB_COL_COMPLETION,
    PLUMB_COL_CHOSEN,
    PLUMB_COL_REJECTED,
    PLUMB_COL_REFERENCE,
    PLUMB_COL_LABEL,
    PLUMB_COL_INPUT_IDS,
    PLUMB_COL_LABELS,
    PLUMB_COL_COMPLETION_MASK,
    PLUMB_COL_PROMPT_IDS,
    PLUMB_COL_COMPLETION_IDS,
    PLUMB_COL_CHOSEN_IDS,
    PLUMB_COL_REJECTED_IDS,
    PLUMB_COL_REFERENCE_IDS,
    PLUMB_COL_KL_IDS,
    PLUMB_COL_MARGIN,
    PLUMB_COL_REF_CHOSEN,
    PLUMB_COL_REF_REJECTED,
    PLUMB_COL_REF,
    PLUMB_COL_COMPLETIONS,
    PLUMB_COL_COMPLETIONS_IDS,
    PLUMB_COL_SCORES,
    PLUMB_COLUMNS
};

/* A set of columns that makes a type; the first that fits the first row is taken. */
struct plumb_layout {
    enum plumb_dataset_type type;
    bool tokenised;
    unsigned need, may; /* bits of enum plumb_column */
    unsigned uses;      /* bits of enum plumb_dataset_use */
};

struct plumb_span {
    int64_t at, n; /* in the ids of the set */
};

struct plumb_row {
    int64_t file_row, line;
    int64_t byte; /* of its first byte in the unpacked file */
    int file;
    int label;
    struct plumb_span prompt, completion[3], kl;
    bool has_ref;
    double margin, ref[2];
    int64_t cut[3];    /* tokens that max_length took from the sequence of each completion */
    int64_t boundary;  /* tokens at the prompt's end that merged with the completion */
    int64_t mask;      /* of completion[0], one behind where it starts in the masks; 0 = none */
    int64_t straddled; /* tokens that are only in part the assistant's */
    int64_t first_candidate, candidates; /* in the lists of the set */
};

/* Where a set's rows are kept beside memory: io/dataset_index.h. */
struct plumb_index {
    char *key, *folder; /* what the rows are made of; the folder that the index has, or will have */
    char *building;     /* the folder being written, NULL = none */
    int64_t *time;      /* (path_count) when the files were last written */
    uint64_t content_hash;
    int lock;
    bool locked, from_file;
};

/* Behind struct plumb_dataset. */
struct plumb_dataset_self {
    struct plumb_dataset_options o; /* its pointers only while opening */
    char **paths;
    int path_count;
    int64_t id_limit;                  /* ids are below */
    enum plumb_dataset_format format;  /* AUTO before the first row */
    int shape;                         /* enum plumb_format_shape, of formats other than trl */
    const struct plumb_layout *layout; /* NULL before the first row */
    bool talks;                        /* its columns of text are conversations */
    enum plumb_dataset_type type;      /* of the examples: not the layout's when pairs are taken
                                        * apart or a mask makes a prompt */
    unsigned used;                     /* columns of the first row that count */
    char *used_names, *ignored_names;  /* "a, b" */
    struct plumb_store ids, rows;      /* int32_t, struct plumb_row */
    struct plumb_store masks;          /* int32_t, 0 = not trained on: of completions with such */
    struct plumb_store spans, scores;  /* candidates of ranked rows, a row's behind another's */
    struct plumb_store pending;        /* rows: rejected halves of pairs taken apart */
    struct plumb_ids *candidates;      /* of the spans, once all rows are read */
    struct plumb_index index;
    size_t touched;                    /* bytes that were looked at since the last forgetting */
    int64_t told;                      /* second of the last line of progress; 0 = none */
    int64_t last;                      /* example that was looked at last */
    int pairs;                       /* rows since pending was last flushed */
    struct plumb_dataset_report report;
    struct plumb_idbuf scratch[4]; /* ids of the row being read */
    struct plumb_idbuf mask;       /* of scratch 1, n = 0 when all are trained on */
    int64_t straddled;             /* tokens of it */
    char *joined;                  /* its prompt + completion */
    size_t joined_capacity;
    char *mapped; /* it in TRL's columns, as JSON */
    size_t mapped_bytes, mapped_room;
};

/* A row being read: its place and its columns. */
struct plumb_row_source {
    const char *path;
    int64_t line;
    const char *text; /* n bytes of JSON: numbers in messages as they are written */
    size_t n;
    const cJSON *column[PLUMB_COLUMNS]; /* NULL = not used */
};

/* Row i of a set that is open. */
const struct plumb_row *plumb_dataset_row(const struct plumb_dataset_self *d, int64_t i);
/* Whether TRL's columns for this use are there, of kinds that they can have. */
bool plumb_columns_fit(const struct plumb_dataset_self *d, const cJSON *row);
/* Takes the layout from the first row, an object. Fails with PLUMB_EINVAL or PLUMB_ENOTSUP, which
 * no run passes over. */
int plumb_columns_choose(struct plumb_dataset_self *d, const struct plumb_row_source *s,
                         const cJSON *row);
/* Fills s->column with the used columns of a row. Fails with PLUMB_EFORMAT on one that is missing,
 * new or of the wrong kind. */
int plumb_columns_collect(const struct plumb_dataset_self *d, const cJSON *row,
                          struct plumb_row_source *s);
/* Fails with PLUMB_EFORMAT: <path>:<line>: column "<name>" and the text. */
int plumb_column_fault(const struct plumb_dataset_self *d, const struct plumb_row_source *s,
                       enum plumb_column c, const char *fmt, ...) PLUMB_PRINTF(4, 5);
/* What a column of messages has wrong, NULL for nothing. */
const char *plumb_talk_fault(const cJSON *v);
/* Tokenises a row of candidates; the rules of plumb_row_tokenise. */
int plumb_row_rank(struct plumb_dataset_self *d, const struct plumb_row_source *s,
                   struct plumb_row *out, bool *kept);
/* Takes prompt + candidate from scratch 1 behind those before it, in scratch 2 and 3. */
int plumb_row_add_candidate(struct plumb_dataset_self *d);
/* A row of candidates that are conversations: the prompt into scratch 0, then these. */
int plumb_row_talk_candidates(struct plumb_dataset_self *d, const struct plumb_row_source *s);
/* What it needs of the other rows' rules: ids of the column `prompt`, of prompt + text with EOS,
 * and of an array of ids, which is a value of column c. */
int plumb_row_prompt(struct plumb_dataset_self *d, const struct plumb_row_source *s,
                     struct plumb_idbuf *out);
int plumb_row_whole(struct plumb_dataset_self *d, const struct plumb_row_source *s,
                    enum plumb_column c, const char *text, struct plumb_idbuf *out);
int plumb_row_ids(const struct plumb_dataset_self *d, const struct plumb_row_source *s,
                  enum plumb_column c, const cJSON *array, struct plumb_idbuf *out);
int plumb_row_keep(struct plumb_dataset_self *d, const int32_t *id, int64_t n,
                   struct plumb_span *out);
/* Tokenises a row into the example out[0], and out[1] when a pair is taken apart; their ids go
 * behind d->ids. kept[i] tells which exist. `out` holds the row's place already. After a failure
 * d->ids may end with ids that belong to nobody, and the report may count the row. */
int plumb_row_tokenise(struct plumb_dataset_self *d, const struct plumb_row_source *s,
                       struct plumb_row out[2], bool kept[2]);
/* *out = the ids of a text, with the post-processor's tokens if `special`. */
int plumb_row_encode(struct plumb_dataset_self *d, const struct plumb_row_source *s,
                     enum plumb_column c, const char *text, size_t n, bool special,
                     struct plumb_idbuf *out);
/* dataset_mask.c. Fills d->mask from a column of labels or of a mask. */
int plumb_row_read_mask(struct plumb_dataset_self *d, const struct plumb_row_source *s,
                        enum plumb_column c, const struct plumb_idbuf *ids);
/* The ids of a rendered conversation; d->mask = those that stand for its spans. */
int plumb_row_mark(struct plumb_dataset_self *d, const struct plumb_row_source *s,
                   enum plumb_column c, const struct plumb_jinja_text *text,
                   struct plumb_idbuf *out);
/* One element of an array of ids; `least` is -100 for labels. */
int plumb_row_read_id(const struct plumb_dataset_self *d, const struct plumb_row_source *s,
                      enum plumb_column c, const cJSON *v, int64_t at, double least, int32_t *out);
/* Fails on an id outside the model's vocabulary. */
int plumb_row_check_ids(const struct plumb_dataset_self *d, const struct plumb_row_source *s,
                        enum plumb_column c, const struct plumb_idbuf *ids);
/* Fills d->scratch from a row of conversations: the prompt's ids in the first, in the others those
 * of prompt + completion, or chosen, rejected and reference. Each conversation is rendered whole
 * and tokenised once, without tokens that the template does not bring. */
int plumb_row_talk(struct plumb_dataset_self *d, const struct plumb_row_source *s);
