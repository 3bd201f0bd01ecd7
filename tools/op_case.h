/* Runs one case of an op: storage for every tensor that its set-up declares, on any device and
 * precision. The tests, the gradient checks and `plumb bench` drive all ops through this. */
#pragma once
#include "kernels/op.h"

enum plumb_item_kind {
    PLUMB_ITEM_IN,
    PLUMB_ITEM_OUT,
    PLUMB_ITEM_INOUT,
    PLUMB_ITEM_GRAD,
    PLUMB_ITEM_UPSTREAM,
    PLUMB_ITEM_INDEX_OUT
};

struct plumb_item {
    char name[48];
    enum plumb_item_kind kind;
    enum plumb_case_role role;
    enum plumb_dtype dtype; /* of the storage */
    int64_t count;
    size_t tensor_offset; /* of the struct plumb_tensor in the argument struct */
    void *data; /* what the op sees: memory of the device */
    void *host; /* what tests read and write: the same memory unless the device has its own */
    double
        *initial; /* inputs, upstream and accumulated gradients: values after rounding; else NULL */
    int of;       /* GRAD: index of its input; UPSTREAM: of its output; else -1 */
    double objective; /* weight of sum(out) in the objective */
    int alias;        /* item whose storage is shared, or -1 */
};

/* An array that set-up asked for beside the tensors. */
struct plumb_case_block {
    void *host, *device; /* device NULL: host memory by contract, or the same memory */
    size_t bytes;
    bool on_device;
};

struct plumb_case_mem {
    const struct plumb_op *op;
    const struct plumb_case *c;
    struct plumb_device dev;
    enum plumb_dtype act; /* PLUMB_F32 or PLUMB_BF16: the precision profile whose inputs are used */
    char *args;
    struct plumb_item *item;
    int items, item_capacity;
    struct plumb_case_block *blocks; /* index arrays and the like */
    int block_count;
    uint64_t draws; /* of plumb_case_below */
    void *work;
};

/* Every op of the tree, one after the other; NULL past the end. */
const struct plumb_op *plumb_op_at(int index);

/* Storage for `c` on `dev` with the inputs of profile `act`; on ref everything is f64. */
void plumb_case_begin(struct plumb_case_mem *m, const struct plumb_op *op,
                      const struct plumb_case *c, const struct plumb_device *dev,
                      enum plumb_dtype act);
void plumb_case_end(struct plumb_case_mem *m); /* takes a zeroed one */
/* Inputs back to their initial values, outputs and overwritten gradients to NaN. */
void plumb_case_reset(struct plumb_case_mem *m);
/* One direction. On ref with `round` other than f64 each intermediate is rounded. bwd without a
 * backward: nothing. */
int plumb_case_fwd(struct plumb_case_mem *m, enum plumb_dtype round);
int plumb_case_bwd(struct plumb_case_mem *m, enum plumb_dtype round);
/* Results to where plumb_item_get finds them: needed on devices with memory of their own. */
int plumb_case_fetch(struct plumb_case_mem *m);
double plumb_item_get(const struct plumb_item *it, int64_t i);
void plumb_item_set(struct plumb_item *it, int64_t i, double v);
