/* One decoder layer, forward and backward, shared by the passes over all layers. */
#pragma once
#include <plumb/attention.h>
#include <plumb/norm.h>
#include <plumb/rope.h>

#include "runtime/linear.h"
#include "runtime/model.h"

struct plumb_layer {
    const struct plumb_model *m;
    const struct plumb_batch *batch;
    struct plumb_acts *a;
    struct plumb_layer_acts l;
    int32_t index;
    struct plumb_tensor
        /* r2 of the layer before: l.r becomes before + delta; absent: l.r is there already */
        before;
};

/* Fills l; leaves in a->delta what is to be added to l.r2. */
int plumb_layer_fwd(const struct plumb_layer *p);
/* Turns a->g, the gradient of the layer's output, into that of its input; adds to the
 * parameters' gradients. */
int plumb_layer_bwd(const struct plumb_layer *p);

/* The pieces that both directions build from; inputs and outputs are left to fill in. */
struct plumb_norm plumb_layer_norm(const struct plumb_model *m, enum plumb_role role, int32_t layer,
                                   int64_t N);
struct plumb_norm plumb_layer_qk_norm(const struct plumb_layer *p, enum plumb_role role);
struct plumb_linear plumb_layer_linear(const struct plumb_layer *p, enum plumb_role role);
struct plumb_attention plumb_layer_attention(const struct plumb_layer *p);
/* Turns the q and k heads at `qk`, rows `ld` apart, in place. */
int plumb_layer_rotate(const struct plumb_layer *p, struct plumb_tensor qk, int64_t ld,
                       bool inverse);
