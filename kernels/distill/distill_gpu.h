/* The divergences on a device, shared by their files: as on the cpu, chunks of rows whose logits
 * lie in two tiles until the gradient has replaced the policy's. All sizes follow from the
 * vocabulary, the widths and the dtypes alone. */
#pragma once
#include <plumb/distill.h>

#include "kernels/gpu.h"

struct distill_sizes {
    int64_t vocab;                /* valid columns */
    int64_t tall;                 /* columns of a row of a tile: whole sectors */
    int64_t width, teacher_width; /* elements between rows of the panels */
    int64_t rows;                 /* most of a chunk */
    size_t good;                  /* one integer a row of a chunk: its index is one */
    size_t x, teacher_x, dx, z, y;
    size_t bytes;
};

/* Four neighbouring elements: one access. */
PLUMB_DEVICE void distill_put4(float *to, const plumb_vec<float> &v) { plumb_st16(to, v); }
PLUMB_DEVICE void distill_put4(__nv_bfloat16 *to, const plumb_vec<float> &v)
{
    uint64_t bits = 0;
    PLUMB_UNROLL for (int k = 0; k < 4; k++)
        bits |= (uint64_t)__bfloat16_as_ushort(__float2bfloat16_rn(v.v[k])) << 16 * k;
    *reinterpret_cast<uint64_t *>(to) = bits;
}

/* A chunk on the host. */
struct distill_chunk {
    const struct plumb_device *dev;
    const struct plumb_distill *a;
    struct distill_sizes at;
    char *scratch;
    bool gradient;
    int64_t first, rows;
};

static inline float *distill_tile(const struct distill_chunk *c, size_t at)
{
    return reinterpret_cast<float *>(c->scratch + at);
}

/* Hidden rows of both heads into panels; losses, and gradients in place of the policy's logits in
 * the dtype of its x; their way back to dx; dbias += sums of the gradient's columns. */
int distill_gather(const struct distill_chunk *c);
int distill_measure(const struct distill_chunk *c);
int distill_scatter(const struct distill_chunk *c);
int distill_add_bias(const struct distill_chunk *c);
