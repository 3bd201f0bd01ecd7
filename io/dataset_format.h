/* Rows in the forms of other programs, put into TRL's columns: OpenAI's, ShareGPT's, Alpaca's. */
#pragma once
#include "io/dataset_rows.h"
#include "io/json_walk.h"

/* A row on its way: what it was, and what it becomes. */
struct plumb_format_row {
    struct plumb_dataset_self *d; /* its `mapped` is written */
    const struct plumb_row_source *s;
    const cJSON *json; /* an object */
    struct plumb_json_piece text;
};

/* What the rows become. */
enum plumb_format_shape {
    PLUMB_SHAPE_NONE,
    PLUMB_SHAPE_TALK,    /* a whole conversation (openai, sharegpt), or prompt and completion */
    PLUMB_SHAPE_PROMPT,  /* what stands before the last answer */
    PLUMB_SHAPE_PAIR,    /* prompt, chosen, rejected */
    PLUMB_SHAPE_TRIPLE,  /* with a reference */
    PLUMB_SHAPE_UNPAIRED /* prompt, completion, label */
};

/* Settles d->format and d->shape from the first row. Fails with PLUMB_EINVAL when its columns can
 * be read in two ways, or not in the one asked for. */
int plumb_format_choose(struct plumb_dataset_self *d, const struct plumb_row_source *s,
                        const cJSON *row);
/* The row as TRL's, as JSON in d->mapped; for formats other than trl. Fails with PLUMB_EFORMAT on a
 * row that is not of the format. */
int plumb_format_map(struct plumb_dataset_self *d, const struct plumb_row_source *s,
                     const cJSON *row);

/* dataset_openai.c, dataset_sharegpt.c, dataset_alpaca.c: the shape that a row has for a use, and
 * the members of the object that it becomes. */
enum plumb_format_shape plumb_openai_shape(enum plumb_dataset_use use, const cJSON *row);
enum plumb_format_shape plumb_sharegpt_shape(enum plumb_dataset_use use, const cJSON *row);
enum plumb_format_shape plumb_alpaca_shape(enum plumb_dataset_use use, const cJSON *row);
int plumb_openai_map(const struct plumb_format_row *r);
int plumb_sharegpt_map(const struct plumb_format_row *r);
int plumb_alpaca_map(const struct plumb_format_row *r);

/* Of use to them. The shape of rows that have these: a pair, a label, else a whole. */
enum plumb_format_shape plumb_format_shape_of(enum plumb_dataset_use use, const cJSON *row,
                                              bool pair, bool whole);
int plumb_format_put(const struct plumb_format_row *r, const char *text);
int plumb_format_put_piece(const struct plumb_format_row *r, struct plumb_json_piece piece);
/* {"role":"<role>","content":<content>} */
int plumb_format_put_message(const struct plumb_format_row *r, const char *role,
                             struct plumb_json_piece content);
/* Fails with PLUMB_EFORMAT "<file>:<line>: column "<name>" ...". */
int plumb_format_fault(const struct plumb_format_row *r, const char *name, const char *fmt, ...)
    PLUMB_PRINTF(3, 4);
/* The column, NULL with a fault recorded when it is missing or of another kind. */
const cJSON *plumb_format_text(const struct plumb_format_row *r, const char *name,
                               struct plumb_json_piece *piece);
/* ,"label":... from the column label or kto_tag. */
int plumb_format_put_label(const struct plumb_format_row *r);
bool plumb_format_has_text(const cJSON *row, const char *name); /* a string that is not empty */
