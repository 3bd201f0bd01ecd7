/* The files of a dataset, as --dataset_name and --dataset_train_split mean them. */
#pragma once
#include <plumb/base.h>

struct plumb_dataset_files {
    char **path; /* (count) sorted by name */
    int count;
};

/* A file is itself, whatever the split. A pattern (*, ?, [...], {a,b}) is the files that match. Of
 * a folder, and of its folder `data`, those files that are called like the split: <split>.jsonl, or
 * <split>-00000-of-00002.jsonl and its kin; endings .jsonl, .json, .csv, also behind them .gz or
 * .zst. A folder where no file is called like any split (train, test, validation, ...) is all of
 * its files with these endings, unless `optional`. No file at all gives count 0 when `optional`,
 * else PLUMB_EIO naming what was looked for. *out is zeroed after a failure. */
int plumb_dataset_files_find(const char *name, const char *split, bool optional,
                             struct plumb_dataset_files *out);
void plumb_dataset_files_release(struct plumb_dataset_files *f); /* takes a zeroed one */
