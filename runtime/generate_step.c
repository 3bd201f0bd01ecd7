/* One step of generation: the batch of what is read, the decoder's pass, and the choice. */
#include <plumb/device.h>
#include <plumb/sample.h>

#include "runtime/generate_slots.h"
#include "runtime/read.h"
#include "runtime/transfer.h"

/* A step's index arrays, one after the other in one block that is sent as a whole. */
struct step {
    int32_t *token, *position, *place; /* (rows) */
    int32_t *row;                      /* (texts) of the choices */
    int32_t *bias_token;               /* (biases) */
    int32_t *seen_offset, *seen;       /* (texts + 1), (texts * longest); with a penalty */
    struct plumb_kvstep f;             /* (pages) each */
    int64_t N, M, used;                /* integers in use, up to the end of what is sent */
};

static int64_t longest(const struct plumb_generate_size *z) { return z->prompts + z->most; }

/* Lays the arrays out from `base` on; returns how many integers there are. */
static int64_t lay_out(struct step *s, const struct plumb_generator *g, int32_t *base)
{
    const struct plumb_generate_size *z = &g->size;
    const int64_t P = g->cache.pages, seen = z->penalty ? z->texts * longest(z) : 0;
    const struct {
        int32_t **at;
        int64_t count;
    } part[] = { { &s->token, z->rows },
                 { &s->position, z->rows },
                 { &s->place, z->rows },
                 { &s->row, z->texts },
                 { &s->f.start, P },
                 { &s->f.length, P },
                 { &s->f.parent, P },
                 { &s->f.q_start, P },
                 { &s->f.q_count, P },
                 { &s->bias_token, z->biases },
                 { &s->seen_offset, z->texts + 1 },
                 { &s->seen, seen } };
    int64_t used = 0;
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        *part[i].at = base ? base + used : NULL;
        used += part[i].count;
    }
    return used;
}

static struct plumb_sample sample_args(const struct plumb_generator *g,
                                       const struct plumb_generation_config *how)
{
    return (struct plumb_sample){ .struct_bytes = sizeof(struct plumb_sample),
                                  .greedy = how->temperature == 0,
                                  .top_k = how->top_k,
                                  .top_p = how->top_p,
                                  .min_p = how->min_p,
                                  .repetition_penalty = how->repetition_penalty,
                                  .biases = how->biases,
                                  .bias = g->bias,
                                  .token = g->chosen.data,
                                  .logp = g->sampled_logp,
                                  .work = g->sample_work };
}

static int choose(void *ctx, const struct plumb_logits *z, int64_t first);

static int push_scratch(struct plumb_generator *g)
{
    const struct plumb_generate_size *z = &g->size;
    static const int32_t present;
    const struct plumb_generation_config any = { .temperature = 1,
                                                 .top_p = 0.5,
                                                 .min_p = 0.5,
                                                 .top_k = g->m->config.vocab,
                                                 .repetition_penalty = 1,
                                                 .biases = z->biases };
    struct plumb_sample a = sample_args(g, &any);
    const int64_t V = g->m->config.vocab;
    a.logits = (struct plumb_logits){ .rows = z->texts, .vocab = V, .slice = V };
    if (z->penalty) a.seen_offset = &present;
    PLUMB_TRY(plumb_arena_push_device(g->arena, plumb_sample_workspace(&g->m->dev, &a),
                                      &g->sample_work.data));
    const struct plumb_batch b = { .N = z->rows, .targets = { .M = z->texts } };
    struct plumb_logprob l = plumb_head_args(g->m, &b, &g->acts, &g->head);
    l.chooser = choose;
    g->head.work_bytes = plumb_logprob_workspace(&g->m->dev, &l);
    return plumb_arena_push_device(g->arena, g->head.work_bytes, &g->head.work.data);
}

int plumb_generate_step_init(struct plumb_generator *g)
{
    const struct plumb_generate_size *z = &g->size;
    const enum plumb_dtype stat = g->m->prec.master;
    struct plumb_arena *arena = g->arena;
    struct step s;
    void *ints, *keys;
    PLUMB_TRY(
        plumb_acts_init(&g->acts, g->m, z->rows, g->cache.pages * PLUMB_KV_PAGE, false, arena));
    g->head = (struct plumb_head_out){ .M = z->texts, .temperature = 1, .work.dtype = stat };
    g->sample_work.dtype = stat;
    PLUMB_TRY(plumb_arena_tensor(arena, stat, z->texts, &g->head.logp));
    PLUMB_TRY(plumb_arena_tensor(arena, stat, z->texts, &g->sampled_logp));
    PLUMB_TRY(plumb_arena_tensor(arena, PLUMB_I32, z->texts, &g->chosen));
    PLUMB_TRY(plumb_arena_tensor(arena, stat, z->biases, &g->bias));
    PLUMB_TRY(plumb_twin(arena, g->head.logp, z->texts, &g->host_logp));
    PLUMB_TRY(plumb_twin(arena, g->sampled_logp, z->texts, &g->host_sampled_logp));
    PLUMB_TRY(plumb_twin(arena, g->chosen, z->texts, &g->host_chosen));
    PLUMB_TRY(plumb_twin(arena, g->bias, z->biases, &g->host_bias));
    PLUMB_TRY(plumb_arena_push(arena, (size_t)lay_out(&s, g, NULL) * sizeof *g->ints, &ints));
    PLUMB_TRY(plumb_arena_push(arena, (size_t)z->texts * 3 * sizeof *g->keys, &keys));
    g->ints = ints;
    g->keys = keys;
    return push_scratch(g);
}

int plumb_generate_send_bias(struct plumb_generator *g, const struct plumb_generation_config *how)
{
    const double by = how->temperature > 0 ? how->temperature : 1;
    struct step s;
    lay_out(&s, g, g->ints);
    for (int64_t i = 0; i < how->biases; i++) {
        s.bias_token[i] = how->bias_token[i];
        plumb_tensor_set(g->host_bias, i, (double)how->bias[i] / by);
    }
    return plumb_twin_send(g->arena, g->host_bias, g->bias, how->biases);
}

static void add_row(struct plumb_generator *g, struct step *s, struct plumb_kvchain *chain,
                    int32_t token, int64_t position)
{
    s->token[s->N] = token;
    s->position[s->N] = (int32_t)position;
    s->place[s->N++] = plumb_kvcache_append(&g->cache, chain);
}

static void add_choice(struct plumb_generator *g, struct step *s, const struct plumb_prompt_slot *p,
                       int32_t slot)
{
    const struct plumb_text_slot *t = &g->text[slot];
    const int64_t texts = g->size.texts;
    s->row[s->M] = (int32_t)s->N - 1;
    g->keys[s->M] = p->p.seed;
    g->keys[texts + s->M] = p->p.sequence + (uint64_t)t->sample;
    g->keys[2 * texts + s->M] = (uint64_t)t->count;
    g->slot[s->M++] = slot;
    if (!g->size.penalty) return;
    int32_t at = s->seen_offset[s->M - 1];
    for (int64_t i = 0; i < p->p.n; i++)
        s->seen[at++] = p->p.id[i];
    for (int64_t i = 0; i < t->count; i++)
        s->seen[at++] = t->id[i];
    s->seen_offset[s->M] = at;
}

/* A prompt's next piece of at most *room tokens, or a token of each of its texts. */
static void read_prompt(struct plumb_generator *g, struct step *s, struct plumb_prompt_slot *p,
                        int64_t *room)
{
    const int64_t before = p->chain.length, left = p->p.n - before;
    const int64_t piece = left < *room ? left : *room;
    const int32_t first = (int32_t)s->N;
    *room -= piece;
    for (int64_t i = before; i < before + piece; i++)
        add_row(g, s, &p->chain, p->p.id[i], i);
    const int32_t above = plumb_kvstep_add(&s->f, &g->cache, &p->chain, -1, piece, first);
    if (p->chain.length < p->p.n) return;
    for (int64_t k = 0; k < p->p.samples; k++) {
        struct plumb_text_slot *t = &g->text[p->texts[k]];
        if (!t->live) continue;
        if (left == 0) {
            add_row(g, s, &t->chain, t->id[t->count - 1], p->p.n + t->chain.length);
            plumb_kvstep_add(&s->f, &g->cache, &t->chain, above, 1, (int32_t)s->N - 1);
        }
        add_choice(g, s, p, p->texts[k]);
    }
}

/* Texts come first: what they leave of a step's rows reads prompts. */
static void read_all(struct plumb_generator *g, struct step *s)
{
    int64_t room = g->size.rows;
    for (int64_t i = 0; i < g->prompts; i++)
        if (g->prompt[i].chain.length == g->prompt[i].p.n) room -= g->prompt[i].open;
    s->seen_offset[0] = 0;
    for (int64_t i = 0; i < g->prompts; i++)
        read_prompt(g, s, &g->prompt[i], &room);
}

struct context {
    const struct plumb_generator *g;
    struct plumb_sample sample;
};

static int choose(void *ctx, const struct plumb_logits *z, int64_t first)
{
    const struct context *c = ctx;
    struct plumb_sample a = c->sample;
    a.logits = *z;
    a.token += first;
    a.logp = plumb_tensor_at(a.logp, first);
    a.seed += first;
    a.sequence += first;
    a.position += first;
    if (a.seen_offset) a.seen_offset += first;
    return plumb_sample(&c->g->m->dev, &a);
}

static int send_keys(const struct plumb_generator *g, const uint64_t **out)
{
    void *there = plumb_arena_mirror(g->arena, g->keys);
    *out = there;
    if (there == g->keys) return PLUMB_OK;
    return plumb_device_upload_ahead(&g->m->dev, there, g->keys,
                                     (size_t)g->size.texts * 3 * sizeof *g->keys);
}

/* The pass and the choices; `at` is where the device has the arrays of s. */
static int run(struct plumb_generator *g, const struct step *s, const struct step *at,
               const struct plumb_generation_config *how)
{
    const struct plumb_model *m = g->m;
    const uint64_t *keys;
    g->cache.forest = (struct plumb_forest){ s->f.S, at->f.start, at->f.length, at->f.parent };
    g->cache.q_start = at->f.q_start;
    g->cache.q_count = at->f.q_count;
    g->cache.place = at->place;
    const struct plumb_batch b = {
        .N = s->N,
        .token = at->token,
        .position = at->position,
        .forest = g->cache.forest,
        .targets = { .M = s->M, .row = at->row, .target = g->chosen.data }
    };
    g->acts.cache = &g->cache;
    PLUMB_TRY(plumb_model_forward(m, &b, &g->acts));
    if (s->M == 0) return PLUMB_OK;
    PLUMB_TRY(send_keys(g, &keys));
    struct context ctx = { g, sample_args(g, how) };
    ctx.sample.seed = keys;
    ctx.sample.sequence = keys + g->size.texts;
    ctx.sample.position = keys + 2 * g->size.texts;
    ctx.sample.bias_token = at->bias_token;
    if (how->repetition_penalty != 1)
        ctx.sample.seen_offset = at->seen_offset, ctx.sample.seen = at->seen;
    g->head.temperature = how->temperature > 0 ? how->temperature : 1;
    struct plumb_logprob l = plumb_head_args(m, &b, &g->acts, &g->head);
    l.chooser = choose;
    l.chooser_ctx = &ctx;
    PLUMB_TRY(plumb_logprob_choose(&m->dev, &l));
    PLUMB_TRY(plumb_twin_fetch(g->arena, g->chosen, g->host_chosen, s->M));
    PLUMB_TRY(plumb_twin_fetch(g->arena, g->head.logp, g->host_logp, s->M));
    return plumb_twin_fetch(g->arena, g->sampled_logp, g->host_sampled_logp, s->M);
}

int plumb_generate_step(struct plumb_generator *g, const struct plumb_generation_config *how,
                        int64_t *count)
{
    struct step s = { 0 }, at = { 0 };
    const int32_t *there;
    const int64_t ints = lay_out(&s, g, g->ints);
    read_all(g, &s);
    PLUMB_TRY(plumb_ints_send(g->arena, g->ints, ints, &there));
    lay_out(&at, g, (int32_t *)(uintptr_t)there);
    *count = s.M;
    PLUMB_TRY(run(g, &s, &at, how));
    return plumb_device_sync(&g->m->dev);
}
