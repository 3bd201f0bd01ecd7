/* The tables of a tokenizer. */
#include "io/tok_table.h"
#include <stdlib.h>
#include <string.h>

int plumb_tok_grow(void *p, size_t *capacity, size_t need, size_t element_bytes)
{
    if (need <= *capacity) return PLUMB_OK;
    size_t larger = *capacity + *capacity / 2 + 16;
    if (larger < need) larger = need;
    void *old;
    memcpy(&old, p, sizeof old);
    void *grown = larger <= SIZE_MAX / element_bytes ? realloc(old, larger * element_bytes) : NULL;
    if (!grown)
        return plumb_fail(PLUMB_EMEM, "could not allocate %zu x %zu bytes for a tokenizer", larger,
                          element_bytes);
    memcpy(p, &grown, sizeof grown);
    *capacity = larger;
    return PLUMB_OK;
}

int plumb_tok_bytes_put(struct plumb_tok_bytes *b, const char *s, size_t n)
{
    PLUMB_TRY(plumb_tok_grow(&b->data, &b->capacity, b->n + n, 1));
    if (n) memcpy(b->data + b->n, s, n);
    b->n += n;
    return PLUMB_OK;
}

void plumb_tok_bytes_release(struct plumb_tok_bytes *b)
{
    free(b->data);
    free(b->origin);
    *b = (struct plumb_tok_bytes){ 0 };
}

static uint64_t mix(uint64_t h)
{
    h ^= h >> 32;
    h *= 0x9E3779B97F4A7C15u;
    return h ^ h >> 29;
}

uint64_t plumb_tok_hash(const char *s, size_t n)
{
    uint64_t h = n * 0xD6E8FEB86659FD93u, v;
    for (; n >= 8; s += 8, n -= 8) {
        memcpy(&v, s, 8);
        h = mix(h ^ v);
    }
    v = 0;
    if (n) memcpy(&v, s, n);
    return mix(h ^ v) | 1;
}

/* The slot where s is, or the free one where it belongs. */
static size_t place(const struct plumb_tok_pieces *p, const char *s, size_t n)
{
    size_t i = plumb_tok_hash(s, n) >> 1 & (p->slots - 1);
    for (; p->slot[i] >= 0; i = (i + 1) & (p->slots - 1)) {
        const int32_t id = p->slot[i];
        if (p->bytes[id] == n && !memcmp(p->text.data + p->at[id], s, n)) break;
    }
    return i;
}

/* Makes room for one more piece; the table is rebuilt in the order of ids. */
static int pieces_room(struct plumb_tok_pieces *p)
{
    if ((size_t)p->count < p->slots / 2) return PLUMB_OK;
    const size_t slots = p->slots ? 2 * p->slots : 64;
    int32_t *slot = malloc(slots * sizeof *slot);
    if (!slot) return plumb_fail(PLUMB_EMEM, "could not allocate a table of %zu pieces", slots);
    memset(slot, -1, slots * sizeof *slot);
    free(p->slot);
    p->slot = slot;
    p->slots = slots;
    for (int32_t id = 0; id < p->n; id++)
        if (p->at[id]) p->slot[place(p, p->text.data + p->at[id], p->bytes[id])] = id;
    return p->text.n ? PLUMB_OK : plumb_tok_bytes_put(&p->text, "", 1);
}

int plumb_tok_pieces_put(struct plumb_tok_pieces *p, const char *s, size_t n, int64_t id,
                         bool again, const char *where)
{
    if (id < 0 || id > PLUMB_TOK_MAX_ID)
        return plumb_fail(PLUMB_EFORMAT, "%s: piece \"%s\" has id %lld; ids are 0 to %d", where, s,
                          (long long)id, PLUMB_TOK_MAX_ID);
    PLUMB_TRY(pieces_room(p));
    if (id >= p->n) {
        PLUMB_TRY(plumb_tok_grow(&p->at, &p->at_capacity, (size_t)id + 1, sizeof *p->at));
        PLUMB_TRY(plumb_tok_grow(&p->bytes, &p->bytes_capacity, (size_t)id + 1, sizeof *p->bytes));
        memset(p->at + p->n, 0, (size_t)(id + 1 - p->n) * sizeof *p->at);
        memset(p->bytes + p->n, 0, (size_t)(id + 1 - p->n) * sizeof *p->bytes);
        p->n = id + 1;
    }
    if (p->at[id])
        return plumb_fail(PLUMB_EFORMAT, "%s: id %lld is given to both \"%s\" and \"%s\"", where,
                          (long long)id, p->text.data + p->at[id], s);
    const size_t slot = place(p, s, n);
    if (p->slot[slot] >= 0 && !again)
        return plumb_fail(PLUMB_EFORMAT, "%s: piece \"%s\" has two ids, %d and %lld", where, s,
                          p->slot[slot], (long long)id);
    if (p->text.n + n >= UINT32_MAX)
        return plumb_fail(PLUMB_EFORMAT, "%s: over 4 GiB of pieces", where);
    p->at[id] = (uint32_t)p->text.n;
    p->bytes[id] = (uint32_t)n;
    p->slot[slot] = (int32_t)id;
    p->count++;
    PLUMB_TRY(plumb_tok_bytes_put(&p->text, s, n));
    return plumb_tok_bytes_put(&p->text, "", 1);
}

int32_t plumb_tok_pieces_find(const struct plumb_tok_pieces *p, const char *s, size_t n)
{
    return p->slots && n < UINT32_MAX ? p->slot[place(p, s, n)] : -1;
}

const char *plumb_tok_piece(const struct plumb_tok_pieces *p, int32_t id, size_t *n)
{
    if (id < 0 || id >= p->n || !p->at[id]) return NULL;
    *n = p->bytes[id];
    return p->text.data + p->at[id];
}

void plumb_tok_pieces_release(struct plumb_tok_pieces *p)
{
    plumb_tok_bytes_release(&p->text);
    free(p->at);
    free(p->bytes);
    free(p->slot);
    *p = (struct plumb_tok_pieces){ 0 };
}

static struct plumb_tok_pair *pair_place(struct plumb_tok_pair *slot, size_t slots, uint64_t key)
{
    size_t i = mix(key * 0xD6E8FEB86659FD93u) & (slots - 1);
    while (slot[i].key != key && slot[i].key != UINT64_MAX)
        i = (i + 1) & (slots - 1);
    return &slot[i];
}

static int pairs_double(struct plumb_tok_pairs *p)
{
    const size_t slots = p->slots ? p->slots * 2 : 64;
    struct plumb_tok_pair *slot = malloc(slots * sizeof *slot);
    if (!slot) return plumb_fail(PLUMB_EMEM, "could not allocate a table of %zu pairs", slots);
    memset(slot, -1, slots * sizeof *slot);
    for (size_t i = 0; i < p->slots; i++)
        if (p->slot[i].key != UINT64_MAX) *pair_place(slot, slots, p->slot[i].key) = p->slot[i];
    free(p->slot);
    p->slot = slot;
    p->slots = slots;
    return PLUMB_OK;
}

int plumb_tok_pairs_put(struct plumb_tok_pairs *p, uint64_t key, uint64_t value)
{
    PLUMB_ASSERT(key != UINT64_MAX);
    if (2 * (p->n + 1) > p->slots) PLUMB_TRY(pairs_double(p));
    struct plumb_tok_pair *at = pair_place(p->slot, p->slots, key);
    if (at->key != key) p->n++;
    *at = (struct plumb_tok_pair){ key, value };
    return PLUMB_OK;
}

const uint64_t *plumb_tok_pairs_find(const struct plumb_tok_pairs *p, uint64_t key)
{
    if (!p->slots) return NULL;
    const struct plumb_tok_pair *at = pair_place(p->slot, p->slots, key);
    return at->key == key ? &at->value : NULL;
}

void plumb_tok_pairs_release(struct plumb_tok_pairs *p)
{
    free(p->slot);
    *p = (struct plumb_tok_pairs){ 0 };
}

enum { CACHE_SLOTS = 1 << 16, CACHE_WORDS = CACHE_SLOTS / 2, CACHE_BYTES = 1 << 22 };

const struct plumb_tok_cached *plumb_tok_cache_find(const struct plumb_tok_cache *c, uint64_t hash,
                                                    const char *s, size_t n)
{
    if (!c->slot) return NULL;
    for (size_t i = hash >> 1 & (CACHE_SLOTS - 1); c->slot[i].hash;
         i = (i + 1) & (CACHE_SLOTS - 1)) {
        const struct plumb_tok_cached *e = &c->slot[i];
        if (e->hash == hash && e->bytes == n && !memcmp(c->text.data + e->text, s, n)) return e;
    }
    return NULL;
}

int plumb_tok_cache_put(struct plumb_tok_cache *c, uint64_t hash, const char *s, size_t n,
                        const int32_t *id, size_t ids)
{
    if (!c->slot) {
        c->slot = calloc(CACHE_SLOTS, sizeof *c->slot);
        if (!c->slot)
            return plumb_fail(PLUMB_EMEM, "could not allocate a cache of %d words", CACHE_WORDS);
    }
    if (c->n == CACHE_WORDS || c->text.n + n > CACHE_BYTES) {
        memset(c->slot, 0, CACHE_SLOTS * sizeof *c->slot);
        c->n = c->text.n = 0;
        c->id.n = 0;
    }
    const struct plumb_tok_cached e = { hash, (uint32_t)c->text.n, (uint32_t)n, (uint32_t)c->id.n,
                                        (uint32_t)ids };
    PLUMB_TRY(plumb_tok_bytes_put(&c->text, s, n));
    for (size_t i = 0; i < ids; i++)
        PLUMB_TRY(plumb_idbuf_push(&c->id, id[i]));
    size_t i = hash >> 1 & (CACHE_SLOTS - 1);
    while (c->slot[i].hash)
        i = (i + 1) & (CACHE_SLOTS - 1);
    c->slot[i] = e;
    c->n++;
    return PLUMB_OK;
}

void plumb_tok_cache_release(struct plumb_tok_cache *c)
{
    free(c->slot);
    plumb_tok_bytes_release(&c->text);
    plumb_idbuf_release(&c->id);
    *c = (struct plumb_tok_cache){ 0 };
}
