/* The index of a set: its rows, checked and tokenised, in files that later runs map instead of
 * reading the rows again, and that a set too large for memory is streamed from.
 *
 * A folder of the cache: ids, rows (where each example came from, the spans of its ids, flags),
 * spans and scores (of candidates) as arrays, and index.json with their lengths and hashes, the
 * report, and the key: hashes of the files' contents, sizes and times, the tokenizer, the template
 * and the options that shape a row. It appears whole, by a rename, and is not used when its key or
 * a hash differs. */
#pragma once
#include "io/dataset_rows.h"

/* Whether an index of these rows is there, which then fills the set. A damaged one is none. */
int plumb_index_find(struct plumb_dataset_self *d, bool *found);
/* Rows go to a new index from now on. Waits for another process that writes into the cache; *found
 * = it wrote this very index, which then fills the set (never once rows have been read). */
int plumb_index_begin(struct plumb_dataset_self *d, bool *found);
/* Behind the last row: seals the arrays, and gives the index its name. */
int plumb_index_commit(struct plumb_dataset_self *d);
/* Removes what is unfinished. */
void plumb_index_release(struct plumb_dataset_self *d);

/* dataset_key.c: d->index.key and the folder's name from it. *files = false where a path is no
 * regular file, whose rows cannot be read twice. */
int plumb_index_key(struct plumb_dataset_self *d, bool *files);
/* Fails with PLUMB_EIO when a file is no longer what the key says. */
int plumb_index_check_files(const struct plumb_dataset_self *d);
