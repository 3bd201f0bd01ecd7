/* The rows of its files that a dataset's examples were read from, one after the other, so that a
 * command can pass a row's other columns on. */
#pragma once
#include <cJSON.h>

#include "io/dataset.h"
#include "io/rowfile.h"
#include "tools/dataset_files.h"

struct plumb_row_walk {
    const struct plumb_dataset_files *files; /* those that the set was opened with */
    struct plumb_rowfile file;
    int next_file;
    bool open;
};

/* *row = the object that example `index` of the set was read from, the caller's to delete. Indices
 * must ascend from call to call, and each row have made one example at most. Fails when the files
 * no longer hold it. */
int plumb_row_walk_to(struct plumb_row_walk *w, const struct plumb_dataset *set, int64_t index,
                      cJSON **row);
void plumb_row_walk_release(struct plumb_row_walk *w); /* takes a zeroed one */
