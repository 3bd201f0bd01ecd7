/* What the native attention works from: resolved strides, index tables and scratch, all inside the
 * caller's workspace. */
#pragma once
#include <plumb/attention.h>

/* Keys of a tile, lanes (query rows) of a block, blocks that share a gathered tile. A row's bits
 * depend on the tile, so it never changes with the batch. */
enum { PLUMB_ATTENTION_TILE = 64, PLUMB_ATTENTION_LANES = 64, PLUMB_ATTENTION_GROUP = 2 };

/* A piece of work: query rows (query x head of the group, query first) of a segment from `first`
 * on, or key rows. */
struct plumb_attention_block {
    int32_t segment;
    int64_t first;
};

struct plumb_attention_plan {
    const struct plumb_attention *a;
    int64_t G, ldq, ldk, ldv, ldo; /* heads of a group; elements between rows */
    int64_t width;                 /* K rounded up to whole vectors */
    bool bf16;
    int32_t *path_start; /* (S) path position of a segment's first row */
    struct plumb_attention_block *query_block;
    int64_t query_blocks;
    /* Backward only. */
    int32_t *first_child, *next_sibling, *root; /* (S) -1 = none; (roots) */
    struct plumb_attention_block *key_block;
    int64_t key_blocks, roots;
    float *delta;   /* (N,Hq) rowsum(do * o) */
    float *dk, *dv; /* (Hkv,N,width) sums */
    char *scratch;  /* one slice a thread */
    int64_t scratch_bytes;
    int threads;
};
