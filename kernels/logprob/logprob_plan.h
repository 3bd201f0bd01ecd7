/* The native schedule of the head, shared by its files. Pairs become runs (adjacent pairs with the
 * same hidden row), runs are taken in chunks, and a chunk's logits are made in slices of the
 * vocabulary. A slice is the unit of work between two matrix products, small enough for the cache.
 * Two kinds of chunk:
 *   kept       all slices of a chunk stay in the tile until backward has used them: three products
 *   streamed   one slice at a time, more rows; backward makes the logits again: four products
 * Slices are the same in both and the logits' product is batch invariant, so statistics have the
 * same bits in every entry. All sizes follow from H, V and the dtype alone. */
#pragma once
#include <plumb/logprob.h>

enum {
    PLUMB_LOGPROB_REF_ROWS = 64, /* tile of the oracle */
    PLUMB_LOGPROB_SLICE = 1024,  /* columns of a slice */
};

/* Adjacent pairs [first, end) of one hidden row; at least one of them is not skipped. */
struct plumb_logprob_run {
    int64_t first, end;
    int32_t row;
};

/* Statistics of a row over the slices seen so far; max is that of all but NaN. */
struct plumb_logprob_stat {
    double max, sum; /* sum of exp(z - max) */
    double weighted; /* sum of exp(z - max) (z - max) */
    double squares;  /* sum of exp(2 (z - max)) */
    double total;    /* sum of z */
    int64_t argmax;
};

/* What backward needs of a row, its targets' own terms aside:
 *   dz = p * along_p - dentropy * p * (ln p + entropy) + uniform */
struct plumb_logprob_grad {
    float lse, entropy, along_p, dentropy, uniform;
};

/* A kind of chunk: most rows, and where its buffers lie in scratch. */
struct plumb_logprob_layout {
    int64_t rows;
    size_t z;     /* f32 logits: all slices one after the other, or one */
    size_t dz;    /* of one slice, dtype of x */
    size_t x, dx; /* (rows,H): gathered x, and f32 */
};

struct plumb_logprob_plan {
    int64_t vocab;             /* valid columns */
    int64_t slice;             /* columns of a slice but the last */
    int64_t dz_stride;         /* elements between rows of dz */
    size_t lse, entropy;       /* (M) each, for what backward reads and the caller does not store */
    size_t runs, stats, grads; /* one per row of a chunk */
    struct plumb_logprob_layout kept, streamed;
    size_t bytes;
};

struct plumb_logprob_plan plumb_logprob_plan(const struct plumb_logprob *a);

/* Finds the next runs from pair `from` on, at most `capacity`, none beyond pair `end`. Returns the
 * first pair not looked at. runs NULL = only count them. */
int64_t plumb_logprob_runs(const struct plumb_logprob *a, int64_t from, int64_t end,
                           struct plumb_logprob_run *runs, int64_t capacity, int64_t *count);

/* One call of native code: columns [from, from + width) of `rows` rows of a chunk. */
struct plumb_logprob_slice {
    const struct plumb_logprob *op;
    int64_t rows, from, width;
    const struct plumb_logprob_run *run;
    float *z;                        /* (rows,width): u, which becomes z; see is_z */
    bool is_z;                       /* the transform is done already */
    struct plumb_logprob_stat *stat; /* stats: brought up to date */
    const struct plumb_logprob_grad *grad;
    struct plumb_tensor dz; /* grad: (rows,width) out, f32 or bf16, dz_stride apart */
    int64_t dz_stride;
};

/* A chunk's hidden rows, as (rows,H). */
struct plumb_logprob_panel {
    const struct plumb_logprob *op;
    int64_t rows;
    const struct plumb_logprob_run *run;
    void *x;         /* gather: out, dtype of x */
    const float *dx; /* scatter: in, added to the op's dx */
};

/* Entries on the cpu; arguments have been checked. */
int plumb_logprob_fwd_native(const struct plumb_logprob *a);
int plumb_logprob_bwd_native(const struct plumb_logprob *a);
int plumb_logprob_fused_native(const struct plumb_logprob *a);
int plumb_logprob_choose_native(const struct plumb_logprob *a);
/* And on ref. */
int plumb_logprob_choose_ref(const struct plumb_logprob *a, enum plumb_dtype round);
/* What a chooser has written, where the host can read it. */
int plumb_logprob_check_chosen(const struct plumb_logprob *a, int64_t first, int64_t end);
