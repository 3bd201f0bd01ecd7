/* Most pairs of a chunk of the head on a device, for its code and its tests. */
#pragma once

enum {
    PLUMB_LOGPROB_SLAB = 4096,          /* most columns whose logits are made at once */
    PLUMB_LOGPROB_STREAMED = 2048,      /* pairs of a chunk without gradients, or made twice */
    PLUMB_LOGPROB_KEPT = 4096,          /* pairs of a chunk whose logits are all kept, */
    PLUMB_LOGPROB_TILE_BYTES = 1 << 30, /* or as many as fit into this */
};
