/* Pages of keys and values. */
#include "runtime/kvcache.h"

int plumb_kvcache_init(struct plumb_kvcache *c, const struct plumb_model *m, int64_t pages,
                       struct plumb_arena *arena)
{
    const int64_t layers = m->config.layers, width = m->config.kv_heads * m->config.head_size;
    void *k, *v, *next;
    *c = (struct plumb_kvcache){ .pages = pages, .free = pages > 0 ? 0 : -1, .spare = pages };
    PLUMB_TRY(plumb_arena_push(arena, (size_t)layers * sizeof *c->k, &k));
    PLUMB_TRY(plumb_arena_push(arena, (size_t)layers * sizeof *c->v, &v));
    PLUMB_TRY(plumb_arena_push(arena, (size_t)pages * sizeof *c->next, &next));
    c->k = k, c->v = v, c->next = next;
    for (int64_t i = 0; i < layers; i++) {
        struct plumb_tensor key, value;
        const int64_t count = pages * PLUMB_KV_PAGE * width;
        PLUMB_TRY(plumb_arena_tensor(arena, m->prec.compute, count, &key));
        PLUMB_TRY(plumb_arena_tensor(arena, m->prec.compute, count, &value));
        if (!k) continue; /* counting */
        c->k[i] = key;
        c->v[i] = value;
    }
    for (int64_t p = 0; next && p < pages; p++)
        c->next[p] = p + 1 < pages ? (int32_t)p + 1 : -1;
    return PLUMB_OK;
}

int32_t plumb_kvcache_append(struct plumb_kvcache *c, struct plumb_kvchain *chain)
{
    const int64_t at = chain->length % PLUMB_KV_PAGE;
    if (at == 0) {
        const int32_t page = c->free;
        PLUMB_ASSERT(page >= 0);
        c->free = c->next[page];
        c->next[page] = -1;
        if (chain->length > 0)
            c->next[chain->last] = page;
        else
            chain->first = page;
        chain->last = page;
    }
    chain->length++;
    return chain->last * PLUMB_KV_PAGE + (int32_t)at;
}

void plumb_kvcache_drop(struct plumb_kvcache *c, struct plumb_kvchain *chain)
{
    if (chain->length > 0) {
        c->next[chain->last] = c->free;
        c->free = chain->first;
    }
    *chain = (struct plumb_kvchain){ .first = -1, .last = -1 };
}

int32_t plumb_kvstep_add(struct plumb_kvstep *s, const struct plumb_kvcache *c,
                         const struct plumb_kvchain *chain, int32_t parent, int64_t fresh,
                         int32_t q_start)
{
    int64_t left = chain->length;
    for (int32_t page = chain->first; left > 0; page = c->next[page]) {
        const int64_t rows = left < PLUMB_KV_PAGE ? left : PLUMB_KV_PAGE, after = left - rows;
        const int64_t now = fresh > after ? fresh - after : 0, queries = now < rows ? now : rows;
        const int64_t i = s->S++;
        s->start[i] = page * PLUMB_KV_PAGE;
        s->length[i] = (int32_t)rows;
        s->parent[i] = parent;
        s->q_start[i] = q_start;
        s->q_count[i] = (int32_t)queries;
        q_start += (int32_t)queries;
        parent = (int32_t)i;
        left = after;
    }
    return parent;
}
