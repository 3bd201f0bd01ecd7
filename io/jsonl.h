/* Rows of a dataset file, one at a time: JSON Lines (one value per line) or one JSON array,
 * plain, gzip or zstd. The form is told by the first character, '[' being an array. Memory: one row
 * and a buffer, whatever the file's size. */
#pragma once
#include "io/input.h"

struct plumb_jsonl_row {
    const char
        *text; /* the value's bytes, unparsed, without white space around; until the next call */
    size_t n;
    int64_t index;        /* 0-based place among the file's rows, bad ones included */
    int64_t line, column; /* of its first byte, 1-based; columns count bytes */
    int64_t byte;         /* offset of its first byte in the unpacked file */
};

struct plumb_jsonl {
    const char *path; /* the caller's */
    struct plumb_input in;
    char *chunk;      /* bytes read ahead */
    size_t at, end;   /* in chunk */
    char *row;        /* bytes of the current row */
    size_t row_bytes, row_capacity, row_limit;
    int64_t rows, line, line_start, byte; /* of the next byte to take */
    bool array, finished;
};

/* Row limit 0 = 8 MiB. Fails with PLUMB_EIO when the file cannot be read. */
int plumb_jsonl_open(struct plumb_jsonl *r, const char *path, size_t row_limit);
/* The next row, or *found = false at the end. Blank lines are passed over. Fails with
 * PLUMB_EFORMAT "<path>:<line>: ..." on a row over the limit or an element or bracket missing in
 * an array, and with PLUMB_EIO when reading fails (packed data corrupt or cut short). Behind a
 * fault the next call goes on, unless `finished` says that nothing can follow. */
int plumb_jsonl_next(struct plumb_jsonl *r, struct plumb_jsonl_row *row, bool *found);
void plumb_jsonl_release(struct plumb_jsonl *r); /* takes a zeroed one; leaves it zeroed */
