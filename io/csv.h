/* Records of a CSV file (RFC 4180, with a header), plain, gzip or zstd, as JSON objects: what a
 * column is called says how its cells are read. Memory: one record, a buffer and the header. */
#pragma once
#include "io/jsonl.h"

enum plumb_csv_kind {
    PLUMB_CSV_TEXT,   /* a string; unknown columns, too */
    PLUMB_CSV_TALK,   /* text or a conversation as JSON: the first record decides */
    PLUMB_CSV_JSON,   /* JSON; empty = null */
    PLUMB_CSV_NUMBER, /* as JSON writes it; empty = null */
    PLUMB_CSV_LABEL,  /* true, false (also True, TRUE, ...), 1 or 0; empty = null */
    PLUMB_CSV_NONE    /* a column without a name, as pandas writes its index: left out */
};

struct plumb_csv_column {
    char *name;
    enum plumb_csv_kind kind;
};

/* A cell of the record being read, in `cells`. */
struct plumb_csv_cell {
    size_t at, n;
    int64_t line, column; /* of its first byte in the file */
};

struct plumb_csv {
    const char *path; /* the caller's */
    struct plumb_input in;
    char *chunk; /* bytes read ahead */
    size_t at, end;
    struct plumb_csv_column *column; /* (columns) */
    int columns, column_room;
    struct plumb_csv_cell *cell; /* (count) of the record */
    int count, cell_room;
    char *cells, *json; /* its unquoted bytes; it as an object */
    size_t cell_bytes, cells_room, json_bytes, json_room, row_limit;
    int64_t rows, line, line_start, byte; /* of the next byte to take */
    bool finished, typed;                 /* the first record has decided on PLUMB_CSV_TALK */
};

/* Reads the header. Row limit 0 = 8 MiB. Fails with PLUMB_EIO, or with PLUMB_EFORMAT
 * "<path>:<line>: ..." on a header that is none: missing, a name twice. */
int plumb_csv_open(struct plumb_csv *r, const char *path, size_t row_limit);
/* As plumb_jsonl_next; `text` is an object with a member for each named column. Fails with
 * PLUMB_EFORMAT on another number of cells than the header has, a quote where none may stand, a
 * record over the limit, and a cell that its column's name does not allow. */
int plumb_csv_next(struct plumb_csv *r, struct plumb_jsonl_row *row, bool *found);
void plumb_csv_release(struct plumb_csv *r); /* takes a zeroed one; leaves it zeroed */

/* csv_cells.c: kinds of the columns, from their names. */
void plumb_csv_name_kinds(struct plumb_csv *r);
/* r->json = the record read as an object. */
int plumb_csv_write_row(struct plumb_csv *r);
/* Makes room for `more` bytes behind the first `used` of a buffer. */
int plumb_csv_room(const struct plumb_csv *r, char **buffer, size_t *room, size_t used,
                   size_t more);
