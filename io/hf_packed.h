/* A model whose matrices stay in the blocks of its file. */
#pragma once
#include <plumb/packed.h>

#include "io/hf_model.h"

/* Lists the layers' matrices that the file has in blocks, all rows of them, but for the parameters
 * whole[0 .. whole_count), and takes them out of m's own lists: plumb_hf_model_read leaves them
 * alone from then on. k->part is malloc'ed: plumb_hf_packed_release. Fails with PLUMB_ENOTSUP where
 * there are none. */
int plumb_hf_packed_plan(struct plumb_hf_model *m, const int64_t *whole, int64_t whole_count,
                         struct plumb_packed *k);
void plumb_hf_packed_release(struct plumb_packed *k); /* takes a zeroed one */
/* blocks (k->bytes) = theirs, rows in the engine's order. */
int plumb_hf_packed_read(const struct plumb_hf_model *m, const struct plumb_packed *k,
                         void *blocks);
