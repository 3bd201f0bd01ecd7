/* What the attention's kernels work from, and how it lies in the caller's workspace: one formula
 * for the host, which answers how many bytes, and for the device. */
#pragma once
#include <plumb/attention.h>

/* The fewest query or key rows that a block of any kernel takes: bounds the tables. */
enum { PLUMB_ATTENTION_LEAST_ROWS = 32, PLUMB_ATTENTION_MOST_WIDTH = 256 };

/* A segment as the kernels see it. Rows of its path from path position `low` on lie in one piece:
 * position p is row p + shift; what comes before it is seen from segment `up`. A segment that
 * breaks the rules of a forest has no rows, and neither has any below it. */
struct plumb_attention_node {
    int32_t own;    /* path position of its first row */
    int32_t length; /* its rows */
    int32_t low, up, shift;
    int32_t q_row;                  /* row in q of its first query */
    int32_t q_pos;                  /* path position of that query */
    int32_t q_rows;                 /* queries times heads of a group */
    int32_t child, sibling, parent; /* -1 = none; child and sibling for backward only */
    int32_t unused;
};

/* Rows of a segment from `first` on: of keys, or of queries times heads of a group. */
struct plumb_attention_piece {
    int32_t segment, first;
};

struct plumb_attention_tables {
    int32_t *pieces; /* how many of `query` and of `key` are filled */
    struct plumb_attention_node *node;
    struct plumb_attention_piece *query, *key;
    int64_t query_room, key_room; /* pieces that fit */
    float *delta;                 /* (N,Hq) rowsum(do * o) */
};

static inline char *plumb_attention_take(char **at, size_t bytes)
{
    char *p = *at;
    *at += (bytes + 63) / 64 * 64;
    return p;
}

/* Lays the tables out from `work` on, which is aligned to 64 bytes here; returns the bytes used
 * with what the alignment may take. */
static inline size_t plumb_attention_tables_at(struct plumb_attention_tables *t,
                                               const struct plumb_attention *a, bool backward,
                                               void *work)
{
    const size_t S = (size_t)a->forest.S, N = (size_t)a->N, Hq = (size_t)a->Hq;
    char *const base = (char *)(((uintptr_t)work + 63) / 64 * 64), *at = base;
    t->query_room = (int64_t)(N * Hq / PLUMB_ATTENTION_LEAST_ROWS + S);
    t->key_room = backward ? (int64_t)(N / PLUMB_ATTENTION_LEAST_ROWS + S) : 0;
    t->pieces = (int32_t *)(void *)plumb_attention_take(&at, 2 * sizeof *t->pieces);
    t->node = (struct plumb_attention_node *)(void *)plumb_attention_take(&at, S * sizeof *t->node);
    t->query = (struct plumb_attention_piece *)(void *)plumb_attention_take(
        &at, (size_t)t->query_room * sizeof *t->query);
    t->key = (struct plumb_attention_piece *)(void *)plumb_attention_take(
        &at, (size_t)t->key_room * sizeof *t->key);
    t->delta = (float *)(void *)plumb_attention_take(&at,
                                                     backward ? N * Hq * sizeof *t->delta : 0);
    return (size_t)(at - base) + 64;
}
