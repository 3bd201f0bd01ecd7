/* Keys and values of texts under way, in pages. A text is a chain of pages, and each page is a
 * segment of the attention's forest with the one before it as its parent: a prompt's pages are
 * shared by its samples because their first pages have its last one as parent. Attention's results
 * do not depend on how a path is cut into segments, so paging changes no bit. */
#pragma once
#include "runtime/model.h"

enum { PLUMB_KV_PAGE = 64 }; /* tokens of a page */

struct plumb_kvcache {
    int64_t pages;
    struct plumb_tensor *k,
        *v;        /* (layers) of (pages * PAGE, kv_heads * head_size), compute dtype */
    int32_t *next; /* (pages) of a chain or of the free list, -1 = none */
    int32_t free;  /* the first free page */
    int64_t spare; /* pages neither in use nor promised */
    /* The step at hand; device memory. */
    struct plumb_forest forest;
    const int32_t *q_start, *q_count; /* (S) */
    const int32_t *place;             /* (N) row of each new token */
};

/* Tokens that follow each other, or nothing yet (first = -1). */
struct plumb_kvchain {
    int32_t first, last;
    int64_t length;
};

/* The forest of a step while it is made, in host memory with room for `pages` segments. */
struct plumb_kvstep {
    int32_t *start, *length, *parent, *q_start, *q_count;
    int64_t S;
};

/* Works on a counting arena. */
int plumb_kvcache_init(struct plumb_kvcache *c, const struct plumb_model *m, int64_t pages,
                       struct plumb_arena *arena);
static inline int64_t plumb_kv_pages(int64_t tokens)
{
    return (tokens + PLUMB_KV_PAGE - 1) / PLUMB_KV_PAGE;
}
/* Adds a token and returns its row. The page it may take must have been promised (c->spare). */
int32_t plumb_kvcache_append(struct plumb_kvcache *c, struct plumb_kvchain *chain);
/* Gives the pages back to the free list; `spare` is the caller's count. */
void plumb_kvcache_drop(struct plumb_kvcache *c, struct plumb_kvchain *chain);
/* Adds the chain's pages to the forest, below segment `parent` (-1 = a root); its last `fresh`
 * tokens are the batch's rows from q_start on. Returns the last segment, or `parent` for an empty
 * chain. */
int32_t plumb_kvstep_add(struct plumb_kvstep *s, const struct plumb_kvcache *c,
                         const struct plumb_kvchain *chain, int32_t parent, int64_t fresh,
                         int32_t q_start);
