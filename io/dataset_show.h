/* What `plumb inspect --dataset` prints: how a set's tokens lie, and which of them are trained on.
 * Text of datasets and vocabularies is escaped, so that it cannot steer a terminal. */
#pragma once
#include <stdio.h>

#include "io/dataset.h"

/* The whole set: type, columns, lengths, share of trained tokens, and warnings of missing EOS,
 * doubled BOS or EOS, BOS inside a sequence, empty completions, prompts and answers that end inside
 * a token, and padding that is EOS. `text` may be NULL: then special tokens are not known. Fails
 * with PLUMB_EMEM only. */
int plumb_dataset_show(FILE *f, const struct plumb_dataset *set, const struct plumb_text *text);
/* More of it: histograms of lengths, rows that are the same, prompts that are, pairs of equal
 * sides, rows over max_length. Fails with PLUMB_EMEM only. */
int plumb_dataset_show_stats(FILE *f, const struct plumb_dataset *set,
                             const struct plumb_text *text);
/* One example: each part's text, BOS, EOS and PAD named behind them, what is trained on in colour
 * or between [[ and ]] (reward: the last token, where the score is read); then its tokens as
 * piece/id. Fails with PLUMB_EINVAL on an index outside the set. */
int plumb_dataset_show_example(FILE *f, const struct plumb_dataset *set,
                               const struct plumb_text *text, int64_t index, bool colour);
