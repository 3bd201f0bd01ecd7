/* Which prompts and texts are under way, and when they end. */
#include "runtime/generate.h"

#include <string.h>

#include "runtime/generate_slots.h"
#include "runtime/read.h"

static int64_t pages_of(const struct plumb_generate_size *z)
{
    return plumb_kv_pages(z->tokens) > 0 ? plumb_kv_pages(z->tokens) : 1;
}

static int push_slots(struct plumb_generator *g)
{
    const struct plumb_generate_size *z = &g->size;
    const size_t texts = (size_t)z->texts, most = (size_t)z->most;
    void *text, *prompt, *lists, *slot, *id, *logp, *sampled;
    PLUMB_TRY(plumb_arena_push(g->arena, texts * sizeof *g->text, &text));
    PLUMB_TRY(plumb_arena_push(g->arena, texts * sizeof *g->prompt, &prompt));
    PLUMB_TRY(plumb_arena_push(g->arena, texts * texts * sizeof(int32_t), &lists));
    PLUMB_TRY(plumb_arena_push(g->arena, texts * sizeof(int32_t), &slot));
    PLUMB_TRY(plumb_arena_push(g->arena, texts * most * sizeof(int32_t), &id));
    PLUMB_TRY(plumb_arena_push(g->arena, texts * most * sizeof(double), &logp));
    PLUMB_TRY(plumb_arena_push(g->arena, texts * most * sizeof(double), &sampled));
    g->text = text;
    g->prompt = prompt;
    g->slot = slot;
    for (size_t i = 0; text && i < texts; i++) {
        g->text[i] = (struct plumb_text_slot){ .id = (int32_t *)id + i * most,
                                               .logp = (double *)logp + i * most,
                                               .sampled_logp = (double *)sampled + i * most };
        g->prompt[i] = (struct plumb_prompt_slot){ .texts = (int32_t *)lists + i * texts };
    }
    return PLUMB_OK;
}

int plumb_generator_init(struct plumb_generator *g, const struct plumb_model *m,
                         const struct plumb_generate_size *size, struct plumb_arena *arena)
{
    *g = (struct plumb_generator){ .m = m, .size = *size, .arena = arena };
    if (size->texts < 1 || size->rows < size->texts || size->prompts < 1 || size->most < 0)
        return plumb_fail(
            PLUMB_EINVAL,
            "generation: %lld rows a step, %lld texts, prompts of %lld, %lld new tokens",
            (long long)size->rows, (long long)size->texts, (long long)size->prompts,
            (long long)size->most);
    PLUMB_TRY(push_slots(g));
    PLUMB_TRY(plumb_kvcache_init(&g->cache, m, pages_of(size), arena));
    return plumb_generate_step_init(g);
}

/* New tokens that a text may have: the last one is predicted, not read. */
static int64_t most_of(const struct plumb_generator *g, const struct plumb_generation_config *how,
                       const struct plumb_prompt *p)
{
    const int64_t places = g->m->rope_rows - p->n + 1;
    return how->max_new_tokens < places ? how->max_new_tokens : places;
}

/* Pages of a text that is as long as it may be. */
static int64_t pages_of_text(int64_t most) { return plumb_kv_pages(most > 0 ? most - 1 : 0); }

static int check_prompt(const struct plumb_generator *g, const struct plumb_generation_config *how,
                        const struct plumb_prompt *p)
{
    const int64_t limit = g->size.prompts < g->m->rope_rows ? g->size.prompts : g->m->rope_rows;
    if (p->n < 1 || p->n > limit)
        return plumb_fail(PLUMB_EINVAL, "a prompt of %lld tokens: 1 to %lld are possible",
                          (long long)p->n, (long long)limit);
    if (p->samples < 1 || p->samples > g->size.texts)
        return plumb_fail(PLUMB_EINVAL, "%lld samples of a prompt: 1 to %lld are possible",
                          (long long)p->samples, (long long)g->size.texts);
    const int64_t wanted = plumb_kv_pages(p->n) + p->samples * pages_of_text(most_of(g, how, p));
    if (wanted > g->cache.pages)
        return plumb_fail(
            PLUMB_EINVAL,
            "a prompt of %lld tokens with %lld samples of up to %lld wants %lld pages "
            "of the cache, which has %lld",
            (long long)p->n, (long long)p->samples, (long long)most_of(g, how, p),
            (long long)wanted, (long long)g->cache.pages);
    return PLUMB_OK;
}

/* Whether there are slots and pages for all of the prompt, as long as its texts may get: what is
 * under way never runs out of pages. */
static bool has_room(const struct plumb_generator *g, const struct plumb_generation_config *how,
                     const struct plumb_prompt *p)
{
    return g->texts + p->samples <= g->size.texts &&
           plumb_kv_pages(p->n) + p->samples * pages_of_text(most_of(g, how, p)) <= g->cache.spare;
}

static void admit(struct plumb_generator *g, const struct plumb_generation_config *how,
                  const struct plumb_prompt *p)
{
    struct plumb_prompt_slot *slot = &g->prompt[g->prompts++];
    int32_t *texts = slot->texts;
    *slot = (struct plumb_prompt_slot){ .p = *p,
                                        .open = p->samples,
                                        .chain = { -1, -1, 0 },
                                        .texts = texts };
    const int64_t most = most_of(g, how, p);
    int32_t at = 0;
    for (int64_t k = 0; k < p->samples; k++, at++) {
        while (g->text[at].live)
            at++;
        struct plumb_text_slot *t = &g->text[at];
        t->live = true;
        t->sample = k;
        t->count = 0;
        t->most = most;
        t->chain = (struct plumb_kvchain){ -1, -1, 0 };
        texts[k] = at;
    }
    g->texts += p->samples;
    g->cache.spare -= plumb_kv_pages(p->n) + p->samples * pages_of_text(most);
}

static struct plumb_completion completion_of(const struct plumb_prompt_slot *p,
                                             const struct plumb_text_slot *t)
{
    return (struct plumb_completion){ .prompt = p->p,
                                      .sample = t->sample,
                                      .count = t->count,
                                      .id = t->id,
                                      .logp = t->logp,
                                      .sampled_logp = t->sampled_logp };
}

static bool is_stop(int32_t id, const struct plumb_generation_config *how)
{
    for (int64_t i = 0; i < how->stops; i++)
        if (how->stop[i] == id) return true;
    return false;
}

static void retire(struct plumb_generator *g, struct plumb_prompt_slot *p,
                   struct plumb_text_slot *t)
{
    plumb_kvcache_drop(&g->cache, &t->chain);
    g->cache.spare += pages_of_text(t->most);
    t->live = false;
    p->open--;
    g->texts--;
}

/* The text has a new token: says so, and ends it where it should end. */
static int advance(struct plumb_generator *g, const struct plumb_generation_config *how,
                   const struct plumb_generate_io *io, struct plumb_prompt_slot *p,
                   struct plumb_text_slot *t)
{
    bool stop = false;
    struct plumb_completion c = completion_of(p, t);
    if (t->count > 0) stop = is_stop(t->id[t->count - 1], how);
    if (io->token && t->count > 0 && !stop) PLUMB_TRY(io->token(io->self, &c, &stop));
    if (!stop && t->count < t->most) return PLUMB_OK;
    c.finish = stop                             ? PLUMB_FINISH_STOP
               : t->most == how->max_new_tokens ? PLUMB_FINISH_LENGTH
                                                : PLUMB_FINISH_POSITIONS;
    PLUMB_TRY(io->done(io->self, &c));
    retire(g, p, t);
    return PLUMB_OK;
}

/* Closes the gaps that prompts leave whose texts are all done. */
static void clear_prompts(struct plumb_generator *g)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < g->prompts; i++) {
        struct plumb_prompt_slot *p = &g->prompt[i], gone = *p;
        if (p->open == 0) {
            g->cache.spare += plumb_kv_pages(p->p.n);
            plumb_kvcache_drop(&g->cache, &p->chain);
            continue;
        }
        *p = g->prompt[kept]; /* its list of texts takes the other's place */
        g->prompt[kept++] = gone;
    }
    g->prompts = kept;
}

static struct plumb_prompt_slot *owner_of(struct plumb_generator *g, int32_t slot)
{
    for (int64_t i = 0;; i++)
        for (int64_t k = 0; k < g->prompt[i].p.samples; k++)
            if (g->prompt[i].texts[k] == slot) return &g->prompt[i];
}

/* Takes the step's tokens into their texts. */
static int take_tokens(struct plumb_generator *g, const struct plumb_generation_config *how,
                       const struct plumb_generate_io *io, int64_t count)
{
    const int32_t *chosen = g->host_chosen.data;
    for (int64_t i = 0; i < count; i++) {
        struct plumb_text_slot *t = &g->text[g->slot[i]];
        struct plumb_prompt_slot *p = owner_of(g, g->slot[i]);
        if (chosen[i] < 0)
            return plumb_fail(
                PLUMB_ENUM,
                "the logits of prompt %lld, sample %lld are not finite after %lld new "
                "tokens",
                (long long)p->p.index, (long long)t->sample, (long long)t->count);
        t->id[t->count] = chosen[i];
        t->logp[t->count] = plumb_tensor_get(g->host_logp, i);
        t->sampled_logp[t->count++] = plumb_tensor_get(g->host_sampled_logp, i);
        PLUMB_TRY(advance(g, how, io, p, t));
    }
    return PLUMB_OK;
}

/* Takes prompts in while there is room; *next is the one that waits, if *waits. */
static int fill(struct plumb_generator *g, const struct plumb_generation_config *how,
                const struct plumb_generate_io *io, struct plumb_prompt *next, bool *waits)
{
    for (;;) {
        if (!*waits) {
            PLUMB_TRY(io->next(io->self, next, waits));
            if (!*waits) return PLUMB_OK;
            PLUMB_TRY(check_prompt(g, how, next));
        }
        if (!has_room(g, how, next)) return PLUMB_OK;
        admit(g, how, next);
        *waits = false;
        if (most_of(g, how, next) > 0) continue;
        struct plumb_prompt_slot *p = &g->prompt[g->prompts - 1];
        for (int64_t k = 0; k < next->samples; k++)
            PLUMB_TRY(advance(g, how, io, p, &g->text[p->texts[k]]));
        clear_prompts(g);
    }
}

/* Nothing is under way: also after a failure. */
static void clear_all(struct plumb_generator *g)
{
    for (int64_t i = 0; i < g->size.texts; i++) {
        if (g->text[i].live) plumb_kvcache_drop(&g->cache, &g->text[i].chain);
        g->text[i].live = false;
    }
    for (int64_t i = 0; i < g->prompts; i++)
        plumb_kvcache_drop(&g->cache, &g->prompt[i].chain);
    g->prompts = g->texts = 0;
    g->cache.spare = g->cache.pages;
}

static int check_sampling(const struct plumb_generator *g,
                          const struct plumb_generation_config *how)
{
    if (how->max_new_tokens < 0 || how->max_new_tokens > g->size.most ||
        how->biases > g->size.biases || (how->repetition_penalty != 1 && !g->size.penalty))
        return plumb_fail(PLUMB_EINVAL,
                          "generation: max_new_tokens=%lld, biases=%lld, repetition_penalty=%g do "
                          "not fit the generator's size",
                          (long long)how->max_new_tokens, (long long)how->biases,
                          how->repetition_penalty);
    return how->temperature >= 0 ? PLUMB_OK
                                 : plumb_fail(PLUMB_EINVAL,
                                              "generation: temperature=%g, must be at "
                                              "least 0",
                                              how->temperature);
}

int plumb_generate(struct plumb_generator *g, const struct plumb_generation_config *how,
                   const struct plumb_generate_io *io)
{
    struct plumb_prompt next;
    bool waits = false;
    int rc = PLUMB_OK;
    int64_t count;
    PLUMB_TRY(check_sampling(g, how));
    PLUMB_TRYG(plumb_generate_send_bias(g, how));
    PLUMB_TRYG(fill(g, how, io, &next, &waits));
    while (g->prompts > 0) {
        PLUMB_TRYG(plumb_generate_step(g, how, &count));
        PLUMB_TRYG(take_tokens(g, how, io, count));
        clear_prompts(g);
        PLUMB_TRYG(fill(g, how, io, &next, &waits));
    }
out:
    clear_all(g);
    return rc;
}

struct plumb_generate_size plumb_generate_alone(int64_t tokens)
{
    return (struct plumb_generate_size){ .tokens = tokens + PLUMB_KV_PAGE,
                                         .rows = tokens,
                                         .texts = 1,
                                         .prompts = tokens,
                                         .most = tokens };
}

struct alone {
    struct plumb_prompt prompt;
    bool given;
    int32_t *out;
    int64_t *count;
};

static int give_one(void *self, struct plumb_prompt *out, bool *found)
{
    struct alone *a = self;
    *found = !a->given;
    a->given = true;
    *out = a->prompt;
    return PLUMB_OK;
}

static int keep_one(void *self, const struct plumb_completion *c)
{
    const struct alone *a = self;
    if (c->count > 0) memcpy(a->out, c->id, (size_t)c->count * sizeof *c->id);
    *a->count = c->count;
    return PLUMB_OK;
}

int plumb_generate_greedy(struct plumb_generator *g, const int32_t *prompt, int64_t n,
                          int64_t max_new, const int32_t *stop, int64_t stops, int32_t *out,
                          int64_t *count)
{
    const int64_t room = g->size.prompts - n + 1; /* sizes of plumb_generate_alone */
    const struct plumb_generation_config how = { .repetition_penalty = 1,
                                                 .max_new_tokens = max_new < room || room < 0
                                                                       ? max_new
                                                                       : room,
                                                 .stop = stop,
                                                 .stops = stops };
    struct alone a = { .prompt = { .id = prompt, .n = n, .samples = 1 },
                       .out = out,
                       .count = count };
    const struct plumb_generate_io io = { .self = &a, .next = give_one, .done = keep_one };
    return plumb_generate(g, &how, &io);
}
