/* Where the scratch of sampling on the CPU lies. */
#pragma once
#include <plumb/sample.h>

enum {
    PLUMB_SAMPLE_BLOCK = 1024, /* ids looked at together */
    PLUMB_SAMPLE_GROUP = 256,  /* ids whose largest logit is remembered */
    PLUMB_SAMPLE_ALIGN = 64,
};

struct plumb_sample_layout {
    int64_t blocks, groups;
    size_t bias, biased;     /* a bias for each id; a mark for each block that has one */
    size_t row, row_bytes;   /* of row 0, and between rows: */
    size_t mass, peak, seen; /* a sum a block, a logit a group, a bit an id */
    size_t bytes;
};

static inline size_t plumb_sample_reserve(size_t *at, int64_t count, size_t bytes)
{
    const size_t here = *at;
    *at += ((size_t)count * bytes + PLUMB_SAMPLE_ALIGN - 1) / PLUMB_SAMPLE_ALIGN *
           PLUMB_SAMPLE_ALIGN;
    return here;
}

static inline struct plumb_sample_layout plumb_sample_layout(const struct plumb_sample *a)
{
    const int64_t V = a->logits.vocab, blocks = (V + PLUMB_SAMPLE_BLOCK - 1) / PLUMB_SAMPLE_BLOCK;
    struct plumb_sample_layout l = { .blocks = blocks,
                                     .groups = blocks * PLUMB_SAMPLE_BLOCK / PLUMB_SAMPLE_GROUP };
    size_t at = 0;
    l.mass = plumb_sample_reserve(&at, blocks, sizeof(double));
    l.peak = plumb_sample_reserve(&at, l.groups, sizeof(float));
    l.seen = plumb_sample_reserve(&at, a->seen_offset ? blocks * PLUMB_SAMPLE_BLOCK / 8 : 0, 1);
    l.row_bytes = at;
    at = 0;
    l.bias = plumb_sample_reserve(&at, a->biases > 0 ? blocks * PLUMB_SAMPLE_BLOCK : 0,
                                  sizeof(float));
    l.biased = plumb_sample_reserve(&at, a->biases > 0 ? blocks : 0, 1);
    l.row = at;
    l.bytes = at + (size_t)a->logits.rows * l.row_bytes + PLUMB_SAMPLE_ALIGN;
    return l;
}
