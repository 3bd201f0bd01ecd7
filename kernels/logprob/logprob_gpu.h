/* The head on a device, shared by its files. Pairs are taken in chunks, each pair with its own copy
 * of its hidden row, because only the device can see which pairs share one. The logits of a chunk
 * are made in slabs of the vocabulary, narrow enough for the statistics to find them in the cache.
 * Two kinds of chunk:
 *   streamed   one slab at a time; backward makes the logits again: four products
 *   kept       the whole vocabulary stays in the tile until backward has used it: three products
 * Slabs, their order and the product's algorithm are the same in both, so statistics have the same
 * bits in every entry. All sizes follow from H, V and the dtype alone. */
#pragma once
#include <plumb/logprob.h>

#include "kernels/gpu.h"

/* Sizes of chunks, and where their buffers lie in scratch. */
struct logprob_sizes {
    int64_t vocab;          /* valid columns */
    int64_t slab;           /* columns of a slab but the last; a multiple of 64 */
    int64_t tall;           /* columns of a row of the kept tile */
    int64_t width;          /* elements between rows of x and dx: H in whole 16 bytes */
    int64_t streamed, kept; /* most pairs of a chunk; kept 0 = needed by nothing */
    size_t lse, entropy;    /* (M) each, for what backward reads and the caller does not store */
    size_t goal, link;      /* one integer, and two, for each pair of a chunk */
    size_t stat, terms;
    size_t x, dx, tile;
    size_t bytes;
};
struct logprob_sizes logprob_sizes_of(const struct plumb_logprob *a);

/* Statistics of a pair over the slabs seen so far; max is that of all but NaN. */
struct __align__(16) logprob_stat
{
    double sum;      /* of exp(z - max) */
    double weighted; /* of exp(z - max) (z - max) */
    double squares;  /* of exp(2 (z - max)) */
    double total;    /* of z */
    float max, z_goal;
    int32_t argmax, none;
};

/* What backward needs of a pair, in the sector that every warp of its block reads:
 *   dz_v = p_v (along_p - dentropy (ln p_v + entropy)) + uniform + dlogp [v = goal] */
struct __align__(32) logprob_terms
{
    float lse, entropy, along_p, dentropy, uniform, dlogp;
    int32_t goal, none;
};

/* The target of a pair, or why it does not count. */
enum { LOGPROB_SKIPPED = -1, LOGPROB_BAD = -2 };

/* What kernels know of a chunk: arrays of pairs start at its first. */
struct logprob_pairs {
    const int32_t *row, *target; /* as given; target NULL = still to be chosen */
    int32_t *goal;
    int64_t N, rows; /* hidden rows there are; pairs of the chunk */
    int32_t vocab;
};

/* Four neighbouring elements as floats: one access of 16 or of 8 bytes. */
PLUMB_DEVICE void logprob_get4(float v[4], const float *from)
{
    const plumb_vec<float> x = plumb_ld16(from);
    PLUMB_UNROLL for (int k = 0; k < 4; k++) v[k] = x.v[k];
}
PLUMB_DEVICE void logprob_get4(float v[4], const __nv_bfloat16 *from)
{
    const uint64_t bits = *reinterpret_cast<const uint64_t *>(from);
    PLUMB_UNROLL for (int k = 0; k < 4; k++)
        v[k] = __uint_as_float((uint32_t)(bits >> 16 * k & 0xffff) << 16);
}
PLUMB_DEVICE void logprob_put4(float *to, const float v[4])
{
    const plumb_vec<float> x = { { v[0], v[1], v[2], v[3] } };
    plumb_st16(to, x);
}
PLUMB_DEVICE void logprob_put4(__nv_bfloat16 *to, const float v[4])
{
    uint64_t bits = 0;
    PLUMB_UNROLL for (int k = 0; k < 4; k++)
        bits |= (uint64_t)__bfloat16_as_ushort(__float2bfloat16_rn(v[k])) << 16 * k;
    *reinterpret_cast<uint64_t *>(to) = bits;
}

/* A chunk on the host. */
struct logprob_chunk {
    const struct plumb_device *dev;
    struct plumb_logprob a; /* the caller's, with lse and entropy always somewhere */
    struct logprob_sizes at;
    char *scratch;
    bool kept, choosing;
    int64_t first, rows; /* pairs */
};

static inline float *logprob_tile(const struct logprob_chunk *c)
{
    return reinterpret_cast<float *>(c->scratch + c->at.tile);
}
/* Columns of a row of the tile, and the one where column `from` of the vocabulary lies. */
static inline int64_t logprob_stride(const struct logprob_chunk *c)
{
    return c->kept ? c->at.tall : c->at.slab;
}
static inline struct plumb_tensor logprob_from(const struct plumb_tensor *t, int64_t i)
{
    char *p = static_cast<char *>(t->data);
    return plumb_tensor{ p ? p + i * (int64_t)plumb_gpu_bytes(t->dtype) : NULL, t->dtype };
}
static inline struct logprob_pairs logprob_pairs_of(const struct logprob_chunk *c)
{
    return logprob_pairs{ c->a.row + c->first,
                          c->choosing ? NULL : c->a.target + c->first,
                          reinterpret_cast<int32_t *>(c->scratch + c->at.goal),
                          c->a.N,
                          c->rows,
                          (int32_t)c->at.vocab };
}

/* Row work (logprob_rows.cu): statistics of the slab from column `from` on, outputs with the last
 * one, unless targets are still to be chosen: then, all products of a kept tile become logits for
 * the chooser to see, and outputs are those of the targets it has written; what backward needs of
 * the pairs, and with that the gradient of columns [from, end) in place
 * of their logits, in the dtype of x. */
int logprob_stats(const struct logprob_chunk *c, int64_t from);
int logprob_shape(const struct logprob_chunk *c);
int logprob_finish(const struct logprob_chunk *c);
int logprob_find_terms(const struct logprob_chunk *c);
int logprob_grad(const struct logprob_chunk *c, int64_t from, int64_t end);
/* Hidden rows (logprob_panel.cu): goals and x of the chunk's pairs, zeros where one does not count;
 * their dx added to the op's, in the order of pairs; dbias += sums of the gradient's columns. */
int logprob_gather(const struct logprob_chunk *c);
int logprob_scatter(const struct logprob_chunk *c);
int logprob_add_bias(const struct logprob_chunk *c, int64_t from, int64_t end);
