/* Completions on their way into a file: they end in any order, rows are written in theirs. */
#pragma once
#include "io/file.h"
#include "io/json.h"
#include "runtime/generate.h"
#include "tools/row_walk.h"

/* A prompt whose completions are not all there, or whose turn has not come. */
struct plumb_generate_row {
    int64_t wanted, done;
    int32_t *prompt; /* (n) */
    int64_t n;
    int32_t **id;   /* (wanted) */
    double **logp;  /* (wanted) */
    int64_t *count; /* (wanted) */
};

struct plumb_generate_rows {
    const struct plumb_text *text; /* NULL = there is no tokenizer */
    const struct plumb_dataset *set;
    struct plumb_row_walk *walk;
    struct plumb_writer *writer;
    const char *path;
    struct plumb_generate_row *row; /* a ring of `room` rows from `first` on */
    int64_t room, first, count;
};

/* Row `index` (they come in order) wants `samples` completions of its prompt, which is copied. */
int plumb_generate_rows_open(struct plumb_generate_rows *r, int64_t index, const int32_t *prompt,
                             int64_t n, int64_t samples, const int32_t **kept);
/* Takes a completion, and writes all rows whose turn has come. */
int plumb_generate_rows_take(struct plumb_generate_rows *r, const struct plumb_completion *c);
void plumb_generate_rows_release(struct plumb_generate_rows *r); /* takes a zeroed one */

/* *text = malloc'ed text of the completion: what it adds to the prompt's text. Decoding it alone
 * would lose the space between the two, where the tokenizer writes none at the start of a text. */
int plumb_completion_text(const struct plumb_text *t, const int32_t *prompt, int64_t n,
                          const int32_t *id, int64_t count, char **prompt_text, char **text);
