/* Greedy generation, one sequence at a time. */
#include "runtime/generate.h"

#include "runtime/transfer.h"

int plumb_generator_init(struct plumb_generator *g, const struct plumb_model *m, int64_t capacity,
                         struct plumb_arena *arena)
{
    *g = (struct plumb_generator){ .m = m, .arena = arena, .cache = { .capacity = capacity } };
    const int64_t layers = m->config.layers, width = m->config.kv_heads * m->config.head_size;
    void *k, *v;
    PLUMB_TRY(plumb_arena_push(arena, (size_t)layers * sizeof *g->cache.k, &k));
    PLUMB_TRY(plumb_arena_push(arena, (size_t)layers * sizeof *g->cache.v, &v));
    g->cache.k = k;
    g->cache.v = v;
    for (int64_t i = 0; i < layers; i++) {
        struct plumb_tensor key, value;
        PLUMB_TRY(plumb_arena_tensor(arena, m->prec.compute, capacity * width, &key));
        PLUMB_TRY(plumb_arena_tensor(arena, m->prec.compute, capacity * width, &value));
        if (!k) continue; /* counting */
        g->cache.k[i] = key;
        g->cache.v[i] = value;
    }
    return PLUMB_OK;
}

/* One pass over the new tokens, then the head on the last row. */
/* One pass over new tokens: activations, head, and what the host hands over and gets back. */
struct pass {
    struct plumb_acts acts;
    struct plumb_head_out head;
    void *ints; /* token, position (n each), then SINGLES */
    struct plumb_tensor next;
};
/* start, parent, length, whole length, q_start, q_count, row, target */
enum { SINGLES = 8 };

static int pass_init(const struct plumb_model *m, int64_t n, int64_t keys,
                     struct plumb_arena *arena, struct pass *p)
{
    PLUMB_TRY(plumb_acts_init(&p->acts, m, n, keys, false, arena));
    PLUMB_TRY(plumb_head_init(&p->head, m, n, 1, false, arena));
    PLUMB_TRY(plumb_arena_push(arena, (size_t)(2 * n + SINGLES) * sizeof(int32_t), &p->ints));
    return plumb_twin(arena, (struct plumb_tensor){ p->head.argmax, PLUMB_I32 }, 1, &p->next);
}

int plumb_generator_plan(const struct plumb_model *m, int64_t capacity, struct plumb_arena *arena)
{
    struct plumb_generator g;
    struct pass p;
    PLUMB_ASSERT(arena->counting);
    PLUMB_TRY(plumb_generator_init(&g, m, capacity, arena));
    const struct plumb_mark mark = plumb_arena_mark(arena);
    PLUMB_TRY(pass_init(m, capacity, capacity, arena, &p));
    plumb_arena_reset(arena, mark);
    return PLUMB_OK;
}

/* The new rows as a batch of one root, and as the last rows of everything in the cache. */
static int describe(struct plumb_generator *g, struct pass *p, const int32_t *token, int64_t n,
                    struct plumb_batch *b)
{
    int32_t *ints = p->ints;
    const int32_t *at;
    const int32_t singles[SINGLES] = { 0, -1, (int32_t)n, (int32_t)(g->cache.length + n),
                                       0, (int32_t)n, (int32_t)n - 1, 0 };
    for (int64_t i = 0; i < n; i++) {
        ints[i] = token[i];
        ints[n + i] = (int32_t)(g->cache.length + i);
    }
    for (int i = 0; i < SINGLES; i++)
        ints[2 * n + i] = singles[i];
    PLUMB_TRY(plumb_ints_send(g->arena, ints, 2 * n + SINGLES, &at));
    const int32_t *s = at + 2 * n;
    *b = (struct plumb_batch){
        .N = n,
        .token = at,
        .position = at + n,
        .forest = { 1, s, s + 2, s + 1 },
        .targets = { .M = 1, .row = s + 6, .target = s + 7 },
    };
    g->cache.whole = (struct plumb_forest){ 1, s, s + 3, s + 1 };
    g->cache.q_start = s + 4;
    g->cache.q_count = s + 5;
    return PLUMB_OK;
}

static int advance(struct plumb_generator *g, const int32_t *token, int64_t n, int32_t *next)
{
    const struct plumb_model *m = g->m;
    struct plumb_batch b;
    struct pass p;
    PLUMB_TRY(pass_init(m, n, g->cache.length + n, g->arena, &p));
    PLUMB_TRY(describe(g, &p, token, n, &b));
    p.acts.cache = &g->cache;
    PLUMB_TRY(plumb_model_forward(m, &b, &p.acts));
    g->cache.length += n;
    const struct plumb_logprob l = plumb_head_args(m, &b, &p.acts, &p.head);
    PLUMB_TRY(plumb_logprob_fwd(&m->dev, &l));
    const struct plumb_tensor argmax = { p.head.argmax, PLUMB_I32 };
    PLUMB_TRY(plumb_twin_fetch(g->arena, argmax, p.next, 1));
    PLUMB_TRY(plumb_device_sync(&m->dev));
    *next = *(const int32_t *)p.next.data;
    return PLUMB_OK;
}

static bool is_stop(int32_t id, const int32_t *stop, int64_t stops)
{
    for (int64_t i = 0; i < stops; i++)
        if (stop[i] == id) return true;
    return false;
}

int plumb_generate_greedy(struct plumb_generator *g, const int32_t *prompt, int64_t n,
                          int64_t max_new, const int32_t *stop, int64_t stops, int32_t *out,
                          int64_t *count)
{
    if (n < 1 || n > g->cache.capacity)
        return plumb_fail(PLUMB_EINVAL, "a prompt of %lld tokens: 1 to %lld are possible",
                          (long long)n, (long long)g->cache.capacity);
    const struct plumb_mark mark = plumb_arena_mark(g->arena);
    int rc = PLUMB_OK;
    g->cache.length = 0;
    const int32_t *token = prompt;
    for (*count = 0; *count < max_new && g->cache.length + n <= g->cache.capacity; n = 1) {
        int32_t *next = &out[*count];
        PLUMB_TRYG(advance(g, token, n, next));
        plumb_arena_reset(g->arena, mark);
        if (*next < 0)
            PLUMB_TRYG(plumb_fail(PLUMB_ENUM, "the logits are not finite after %lld new tokens",
                                  (long long)*count));
        token = next;
        ++*count;
        if (is_stop(*next, stop, stops)) break;
    }
out:
    plumb_arena_reset(g->arena, mark);
    return rc;
}
