/* The native schedule of the divergences, shared by their files. Rows are taken in chunks whose
 * logits, the policy's and the teacher's, all lie in two tiles until the gradient has replaced the
 * policy's. Sizes follow from the vocabulary, the widths and the dtypes alone. */
#pragma once
#include <plumb/distill.h>

enum { PLUMB_DISTILL_SLICE = 512 }; /* columns that the row work holds at a time */

struct plumb_distill_plan {
    int64_t vocab;       /* valid columns */
    int64_t rows;        /* most of a chunk */
    int64_t stride;      /* floats between rows of a tile */
    size_t z, y;         /* the tiles: policy and teacher */
    size_t x, teacher_x; /* gathered hidden rows, with a list of rows */
    size_t dx;           /* (rows,H) f32 */
    size_t bytes;
};
struct plumb_distill_plan plumb_distill_plan(const struct plumb_distill *a);

/* One call of native code: the rows of a chunk. dz takes the place of z; as bf16 that of y, whose
 * row it starts with. */
struct plumb_distill_chunk {
    const struct plumb_distill *op;
    int64_t first, rows, vocab, stride;
    float *z, *y;
    bool gradient;
};

/* Gathered or scattered rows of one array. */
struct plumb_distill_panel {
    const int32_t *row; /* of the chunk's first, or NULL */
    int64_t first, rows, width;
    const struct plumb_tensor *whole; /* x, or dx which is written */
    void *x;                          /* gather: out, dtype of whole */
    const float *dx;                  /* scatter: in */
};

/* Entry on the cpu; arguments have been checked. */
int plumb_distill_native(const struct plumb_distill *a);
