/* A model's packed matrices (plumb/packed.h) in memory. */
#pragma once
#include "runtime/model.h"

/* *w = the numbers of p in the compute dtype: for a packed matrix expanded into the model's one
 * place for that, good until the next is asked for. */
int plumb_packed_weight(const struct plumb_model *m, const struct plumb_param *p,
                        struct plumb_tensor *w);
/* Storage of blocks and of the largest matrix; part of plumb_model_init_packed. */
int plumb_packed_init(struct plumb_model *m, const struct plumb_packed *k,
                      const struct plumb_param *params, struct plumb_arena *run);
