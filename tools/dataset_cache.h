/* Where the rows of a dataset may be kept, for struct plumb_dataset_options. */
#pragma once
#include "io/dataset.h"

/* Fills cache, memory_limit, text_path and program. `cache` is the folder asked for, or NULL;
 * without it `output` (or NULL) gets a folder dataset_cache for sets of over `limit` MiB.
 * `tokenizer` is what the tokenizer was opened from, NULL without one. What is filled in lives as
 * long as *c. */
struct plumb_dataset_cache {
    char folder[4096], build[44];
};
int plumb_dataset_cache_find(struct plumb_dataset_cache *c, const char *cache, const char *output,
                             int64_t limit, const char *tokenizer, struct plumb_dataset_options *o);
