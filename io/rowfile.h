/* Rows of a dataset file as JSON: JSON Lines, one JSON array, or CSV, plain or packed. */
#pragma once
#include "io/csv.h"

struct plumb_rowfile {
    const char *path; /* the caller's */
    bool is_csv;      /* its name ends so, .gz and .zst aside */
    struct plumb_jsonl lines;
    struct plumb_csv csv;
    int64_t rows;  /* so far, bad ones included */
    bool finished; /* nothing can follow */
};

/* Row limit 0 = 8 MiB. Parquet and Arrow files, told by name or first bytes, fail with
 * PLUMB_ENOTSUP and the command that converts them; otherwise as plumb_jsonl_open. */
int plumb_rowfile_open(struct plumb_rowfile *r, const char *path, size_t row_limit);
/* As plumb_jsonl_next. */
int plumb_rowfile_next(struct plumb_rowfile *r, struct plumb_jsonl_row *row, bool *found);
void plumb_rowfile_release(struct plumb_rowfile *r); /* takes a zeroed one; leaves it zeroed */

enum plumb_rowfile_kind { PLUMB_ROWFILE_UNKNOWN, PLUMB_ROWFILE_ROWS, PLUMB_ROWFILE_COLUMNS };
/* By name alone: rows end in .jsonl, .json or .csv, behind it maybe .gz or .zst; columns in
 * .parquet or .arrow. */
enum plumb_rowfile_kind plumb_rowfile_kind(const char *name);
