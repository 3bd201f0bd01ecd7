/* Named tensors wherever they come from: what a weights file offers and a weights writer takes.
 * safetensors implements it; another format joins by filling the same struct, under Hugging Face's
 * names and layouts. */
#pragma once
#include <plumb/quant.h>

#define PLUMB_WEIGHT_RANK 8

struct plumb_weight {
    const char *name;
    const char *dtype; /* as the file spells it: "F32", "BF16", "I64", "Q4_1", ... */
    int rank;          /* 0 for a scalar */
    int64_t shape[PLUMB_WEIGHT_RANK];
    int64_t count;    /* product of the shape */
    const void *data; /* the stored bytes in a map of the file, unaligned; NULL elsewhere */
    size_t bytes;
    enum plumb_quant quant; /* blocks of data; NONE for plain numbers */
    bool turned; /* a matrix (out, in), as GGUF has it, where Hugging Face keeps (in, out) */
};

struct plumb_weights {
    const char *origin;                /* path, for messages */
    const struct plumb_weight *tensor; /* (count) sorted by name for plumb_weights_find */
    int64_t count;
    /* out[i] = element first + i (row-major) of tensor `index`, exact; n elements, in range. */
    int (*read)(const struct plumb_weights *w, int64_t index, int64_t first, int64_t n,
                double *out);
    /* out = the stored bytes of rows [first, first + n) of a matrix, in the order of `read`: of
     * blocks for plumb_dequantize, where `quant` says so. NULL where rows cannot be had so. */
    int (*read_rows)(const struct plumb_weights *w, int64_t index, int64_t first, int64_t n,
                     void *out);
    void (*release)(struct plumb_weights *w); /* NULL when nothing is owned */
    void *self;
};

/* The index of a tensor, -1 without one. */
int64_t plumb_weights_find(const struct plumb_weights *w, const char *name);
void plumb_weights_release(struct plumb_weights *w); /* takes a zeroed one; leaves it zeroed */
/* A matrix read the other way round: whole, once, for neither order of reading is cheap. */
struct plumb_turned {
    double *x; /* of the tensor `held` */
    int64_t held;
};
/* out[i] = element first + i of the transpose of matrix `index`. Zero *t, with held = -1, before
 * the first; free t->x after the last. */
int plumb_turned_read(struct plumb_turned *t, const struct plumb_weights *w, int64_t index,
                      int64_t first, int64_t n, double *out);
/* "[3, 4]" into out; returns out. */
const char *plumb_shape_text(const int64_t *shape, int rank, char *out, size_t n);
