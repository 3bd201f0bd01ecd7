/* Examples to batches: packs token ids into a forest of segments, a prompt once for its
 * completions where asked, and lists the targets of the head. */
#pragma once
#include <plumb/arena.h>
#include <plumb/batch.h>
#include <plumb/dataset.h>

enum plumb_batch_side {
    PLUMB_SIDE_COMPLETIONS,
    PLUMB_SIDE_KL
}; /* KL: the mismatched completions of KTO */

/* A third sequence of each pair, whose tokens are targets for a likelihood: those of the prompt
 * under chosen, or a third completion, completion[2]. */
enum plumb_batch_third { PLUMB_THIRD_NONE, PLUMB_THIRD_PROMPT, PLUMB_THIRD_COMPLETION };

struct plumb_batching {
    bool
        /* one prompt segment for an example's completions; changes no row's result */
        share_prompts;
    enum plumb_batch_third third;
    bool no_targets; /* scalar heads: sequences only */
    enum plumb_batch_side side;
};

/* What a batch of given examples takes. */
struct plumb_batch_size {
    int64_t tokens, targets, sequences, segments, longest;
};
/* Adds one example to a size. */
void plumb_batch_measure(const struct plumb_batching *o, const struct plumb_example *e,
                         struct plumb_batch_size *size);
/* Builds the batch of `count` examples in `step`: sequences in order of examples, an example's
 * completions adjacent; third sequences behind those of all pairs. Sequence r's targets are
 * [offset[r], offset[r+1]). A completion's first token is predicted by the last prompt token;
 * without a prompt the first token is no target. last_row[r], if wanted, is the row of sequence
 * r's last token. Where the arena's device has memory of its own, the arrays of *out and last_row
 * are on their way there, and out->host has the ones built. */
int plumb_batch_build(const struct plumb_batching *o, const struct plumb_example *e, int64_t count,
                      struct plumb_arena *step, struct plumb_batch *out, const int32_t **last_row);
/* The pushes of plumb_batch_build for batches of up to this size. */
int plumb_batch_plan(const struct plumb_batch_size *size, struct plumb_arena *step);
