/* Greedy generation, one sequence at a time. */
#include "runtime/generate.h"

int plumb_generator_init(struct plumb_generator *g, const struct plumb_model *m, int64_t capacity,
                         struct plumb_arena *arena)
{
    *g = (struct plumb_generator){ .m = m, .arena = arena, .cache = { .capacity = capacity } };
    const int64_t layers = m->config.layers, width = m->config.kv_heads * m->config.head_size;
    void *k, *v, *position;
    PLUMB_TRY(plumb_arena_push(arena, (size_t)layers * sizeof *g->cache.k, &k));
    PLUMB_TRY(plumb_arena_push(arena, (size_t)layers * sizeof *g->cache.v, &v));
    PLUMB_TRY(plumb_arena_push(arena, (size_t)capacity * sizeof *g->position, &position));
    g->cache.k = k;
    g->cache.v = v;
    g->position = position;
    for (int64_t i = 0; i < layers; i++) {
        struct plumb_tensor key, value;
        PLUMB_TRY(plumb_arena_tensor(arena, m->prec.compute, capacity * width, &key));
        PLUMB_TRY(plumb_arena_tensor(arena, m->prec.compute, capacity * width, &value));
        if (!k) continue; /* counting */
        g->cache.k[i] = key;
        g->cache.v[i] = value;
    }
    for (int64_t i = 0; position && i < capacity; i++)
        g->position[i] = (int32_t)i;
    return PLUMB_OK;
}

/* One pass over the new tokens, then the head on the last row. */
struct pass {
    struct plumb_acts acts;
    struct plumb_head_out head;
};

static int pass_init(const struct plumb_model *m, int64_t n, int64_t keys,
                     struct plumb_arena *arena, struct pass *p)
{
    PLUMB_TRY(plumb_acts_init(&p->acts, m, n, keys, false, arena));
    return plumb_head_init(&p->head, m, n, 1, false, arena);
}

size_t plumb_generator_scratch(const struct plumb_model *m, int64_t capacity)
{
    struct plumb_arena count;
    struct pass p;
    plumb_arena_init_counting(&count, "generation");
    return pass_init(m, capacity, capacity, &count, &p) == PLUMB_OK ? count.peak : 0;
}

static int advance(struct plumb_generator *g, const int32_t *token, int64_t n, int32_t *next)
{
    const struct plumb_model *m = g->m;
    struct pass p;
    PLUMB_TRY(pass_init(m, n, g->cache.length + n, g->arena, &p));
    p.acts.cache = &g->cache;
    const int32_t start = 0, length = (int32_t)n, parent = -1, row = (int32_t)n - 1, target = 0;
    const struct plumb_batch b = {
        .N = n,
        .token = token,
        .position = g->position + g->cache.length,
        .forest = { 1, &start, &length, &parent },
        .targets = { .M = 1, .row = &row, .target = &target },
    };
    PLUMB_TRY(plumb_model_forward(m, &b, &p.acts));
    g->cache.length += n;
    const struct plumb_logprob l = plumb_head_args(m, &b, &p.acts, &p.head);
    PLUMB_TRY(plumb_logprob_fwd(&m->dev, &l));
    *next = p.head.argmax[0];
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
    const size_t mark = plumb_arena_mark(g->arena);
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
