/* The tables of a tokenizer: growing bytes, pieces by id and by text, pairs of ids, and a cache of
 * words. */
#pragma once
#include <plumb/text.h>

/* An array grown to hold at least `need` elements; *p stays valid on failure. */
int plumb_tok_grow(void *p, size_t *capacity, size_t need, size_t element_bytes);

struct plumb_tok_origin {
    uint32_t from, to;
};
struct plumb_tok_bytes {
    char *data;
    size_t n, capacity;
    struct plumb_tok_origin *origin; /* by byte, where it is noted: see tok_origin.c */
    size_t origin_capacity;
};
int plumb_tok_bytes_put(struct plumb_tok_bytes *b, const char *s, size_t n);
void plumb_tok_bytes_release(struct plumb_tok_bytes *b);

/* A vocabulary: ids are the file's, gaps allowed. */
struct plumb_tok_pieces {
    struct plumb_tok_bytes text; /* pieces, each with a NUL; offset 0 is nobody's */
    uint32_t *at, *bytes;        /* by id; at 0 = no such piece */
    size_t at_capacity, bytes_capacity;
    int64_t n, count; /* ids are below n; pieces there are */
    int32_t *slot;    /* open addressing by text; -1 = free */
    size_t slots;
};
#define PLUMB_TOK_MAX_ID ((1 << 24) - 1)
/* Fails on an id out of range or taken. With `again`, a text met before then leads to the new id,
 * else it fails. */
int plumb_tok_pieces_put(struct plumb_tok_pieces *p, const char *s, size_t n, int64_t id,
                         bool again, const char *where);
int32_t plumb_tok_pieces_find(const struct plumb_tok_pieces *p, const char *s,
                              size_t n); /* -1 = unknown */
const char *plumb_tok_piece(const struct plumb_tok_pieces *p, int32_t id,
                            size_t *n); /* NULL = no such id */
void plumb_tok_pieces_release(struct plumb_tok_pieces *p);

/* uint64 -> uint64; the key UINT64_MAX is not allowed. */
struct plumb_tok_pairs {
    struct plumb_tok_pair {
        uint64_t key, value;
    } * slot;
    size_t slots, n;
};
int plumb_tok_pairs_put(struct plumb_tok_pairs *p, uint64_t key,
                        uint64_t value); /* a key met before is overwritten */
const uint64_t *plumb_tok_pairs_find(const struct plumb_tok_pairs *p,
                                     uint64_t key); /* NULL = absent */
void plumb_tok_pairs_release(struct plumb_tok_pairs *p);

/* Words already encoded. Bounded: when full it starts anew. */
struct plumb_tok_cache {
    struct plumb_tok_cached {
        uint64_t hash; /* 0 = free */
        uint32_t text, bytes, first, ids;
    } * slot;
    size_t n;
    struct plumb_tok_bytes text;
    struct plumb_idbuf id;
};
#define PLUMB_TOK_CACHED_BYTES 256                /* longer words are not kept */
uint64_t plumb_tok_hash(const char *s, size_t n); /* never 0 */
const struct plumb_tok_cached *plumb_tok_cache_find(const struct plumb_tok_cache *c, uint64_t hash,
                                                    const char *s, size_t n);
int plumb_tok_cache_put(struct plumb_tok_cache *c, uint64_t hash, const char *s, size_t n,
                        const int32_t *id, size_t ids);
void plumb_tok_cache_release(struct plumb_tok_cache *c);
