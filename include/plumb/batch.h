/* A batch is a forest of segments: tokens are packed, never padded. A token attends causally
 * within its segment and to all tokens of its ancestors; its path position is its place on the
 * root-to-leaf path. A preference pair is a prompt segment with two children; packed rows are
 * roots. */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_C

/* Segment s holds the rows [start[s], start[s]+length[s]); parent[s] < s, or -1 for a root. Rows
 * of a segment are contiguous; segments lie in order of start, without gaps or overlap. Lengths
 * are >= 1. */
struct plumb_forest {
    int64_t S;
    const int32_t *start, *length, *parent; /* (S) each */
};

/* The head's work and the sequences made of it. Pair m asks for log p(target[m] | row row[m]);
 * sequence r owns the pairs [offset[r], offset[r+1]). row is non-decreasing inside a sequence. */
struct plumb_targets {
    int64_t M;                     /* pairs */
    const int32_t *row, *target;   /* (M) each; target -1 = skip */
    int64_t R;                     /* sequences (completions) */
    const int32_t *offset;         /* (R+1) */
};

struct plumb_batch {
    int64_t N;                         /* tokens */
    const int32_t *token, *position;   /* (N) each; position = path position */
    struct plumb_forest forest;
    struct plumb_targets targets;
    int64_t max_path;                  /* longest root-to-leaf path, tokens */
    const int64_t *example;            /* (R) data row of each sequence, for messages; host
                                        * memory */
    const struct plumb_batch *host;    /* the same arrays in host memory, where the ones above lie
                                        * in a device's; NULL = these are the host's */
    const int32_t *sample;             /* (N) what dropout draws by beside the position: whose
                                        * token it is; NULL where nothing is dropped */
};
static inline const struct plumb_batch *plumb_batch_host(const struct plumb_batch *b)
{
    return b->host ? b->host : b;
}

/* Checks the rules above and that tokens lie in [0, vocab); names the first fault. */
int plumb_batch_check(const struct plumb_batch *b, int64_t vocab);

PLUMB_END_C
