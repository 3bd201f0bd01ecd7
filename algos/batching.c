/* Packs examples into a forest of segments. */
#include "algos/batching.h"

#include <plumb/device.h>
#include <string.h>

static int sides(const struct plumb_batching *o, const struct plumb_example *e)
{
    if (e->candidates > 0) return (int)e->candidates;
    return o->side == PLUMB_SIDE_KL || e->completion[1].n == 0 ? 1 : 2;
}

static struct plumb_ids completion(const struct plumb_batching *o, const struct plumb_example *e,
                                   int side)
{
    if (e->candidates > 0) return e->candidate[side];
    return o->side == PLUMB_SIDE_KL ? e->kl_completion : e->completion[side];
}

/* Prompt shared by several completions: worth a segment of its own only then. */
static bool shares(const struct plumb_batching *o, const struct plumb_example *e)
{
    return o->share_prompts && e->prompt.n > 0 && sides(o, e) > 1;
}

/* Which tokens of a completion are targets; NULL = all. */
static const int32_t *mask_of(const struct plumb_batching *o, const struct plumb_example *e,
                              int side)
{
    return o->side == PLUMB_SIDE_COMPLETIONS && side == 0 ? e->trained : NULL;
}

static void measure_completion(const struct plumb_batching *o, const struct plumb_example *e,
                               int side, struct plumb_batch_size *size)
{
    const int64_t tokens = completion(o, e, side).n, prompt = e->prompt.n;
    const int32_t *mask = mask_of(o, e, side);
    int64_t trained = tokens;
    for (int64_t i = 0; mask && i < tokens; i++)
        trained -= !mask[i];
    size->tokens += tokens;
    if (!o->no_targets) size->targets += trained;
    if (prompt + tokens > size->longest) size->longest = prompt + tokens;
}

void plumb_batch_measure(const struct plumb_batching *o, const struct plumb_example *e,
                         struct plumb_batch_size *size)
{
    const int n = sides(o, e);
    size->tokens += shares(o, e) ? e->prompt.n : n * e->prompt.n;
    size->segments += shares(o, e) ? 1 + n : n;
    size->sequences += n;
    for (int s = 0; s < n; s++)
        measure_completion(o, e, s, size);
    if (o->third == PLUMB_THIRD_NONE) return;
    size->sequences++;
    if (o->third == PLUMB_THIRD_PROMPT) {
        size->targets += e->prompt.n > 0 ? e->prompt.n - 1 : 0;
        return;
    }
    size->tokens += shares(o, e) ? 0 : e->prompt.n;
    size->segments++;
    measure_completion(o, e, 2, size);
}

/* The arrays of a batch while it grows. */
struct build {
    int32_t *token, *position, *sample, *start, *length, *parent, *row, *target, *offset, *last;
    int64_t *example;
    int64_t N, S, M, R, longest;
    size_t bytes; /* of the integers, from `token` on */
};

/* `part`: 0 = the prompt, k + 1 = completion k. A prompt has the same sample for all completions,
 * shared or not. */
static void append(struct build *b, const struct plumb_example *e, int part, struct plumb_ids ids,
                   int64_t position)
{
    const int32_t sample = (int32_t)((uint32_t)e->row * 128u + (uint32_t)part % 128u);
    if (ids.n > 0) memcpy(b->token + b->N, ids.id, (size_t)ids.n * sizeof *ids.id);
    for (int64_t i = 0; i < ids.n; i++) {
        b->position[b->N + i] = (int32_t)(position + i);
        b->sample[b->N + i] = sample;
    }
    b->N += ids.n;
    if (position + ids.n > b->longest) b->longest = position + ids.n;
}

static int32_t segment(struct build *b, int64_t start, int64_t length, int32_t parent)
{
    b->start[b->S] = (int32_t)start;
    b->length[b->S] = (int32_t)length;
    b->parent[b->S] = parent;
    return (int32_t)b->S++;
}

/* Targets ids[0..n), or those with a mask: the first is predicted by row `before` (-1 = by none),
 * the rest by the row of the one before, which starts at `first`. */
static void targets(struct build *b, struct plumb_ids ids, const int32_t *mask, int64_t before,
                    int64_t first)
{
    for (int64_t i = 0; i < ids.n; i++) {
        const int64_t row = i == 0 ? before : first + i - 1;
        if (row < 0 || (mask && !mask[i])) continue;
        b->row[b->M] = (int32_t)row;
        b->target[b->M++] = ids.id[i];
    }
}

static void close_sequence(struct build *b, const struct plumb_example *e, int64_t last)
{
    b->last[b->R] = (int32_t)last;
    b->example[b->R] = e->row;
    b->offset[++b->R] = (int32_t)b->M;
}

static void sequence(struct build *b, const struct plumb_batching *o, const struct plumb_example *e,
                     int side, int32_t prompt_segment, int64_t prompt_start)
{
    const struct plumb_ids c = completion(o, e, side);
    const bool alone = prompt_segment < 0;
    const int64_t start = b->N;
    if (alone) append(b, e, 0, e->prompt, 0);
    const int64_t first = b->N;
    append(b, e, side + 1, c, e->prompt.n);
    if (b->N > start) segment(b, start, b->N - start, prompt_segment);
    const int64_t before = e->prompt.n == 0 ? -1
                           : alone          ? first - 1
                                            : prompt_start + e->prompt.n - 1;
    if (!o->no_targets) targets(b, c, mask_of(o, e, side), before, first);
    close_sequence(b, e, c.n > 0 || alone ? b->N - 1 : before);
}

/* The third sequences of all pairs, so that those of the pairs lie side by side. */
static void third_sequences(struct build *b, const struct plumb_batching *o,
                            const struct plumb_example *e, int64_t count)
{
    struct plumb_batching two = *o;
    struct plumb_batch_size before = { 0 };
    two.third = PLUMB_THIRD_NONE;
    for (int64_t i = 0; i < count && o->third != PLUMB_THIRD_NONE; i++) {
        const int64_t start = before.tokens; /* of the prompt that chosen has */
        if (o->third == PLUMB_THIRD_PROMPT) {
            targets(b, e[i].prompt, NULL, -1, start);
            close_sequence(b, &e[i], start + (e[i].prompt.n > 0 ? e[i].prompt.n - 1 : 0));
        } else {
            sequence(b, o, &e[i], 2, shares(o, &e[i]) ? (int32_t)before.segments : -1, start);
        }
        plumb_batch_measure(&two, &e[i], &before);
    }
}

static int allocate(struct build *b, const struct plumb_batch_size *z, struct plumb_arena *step)
{
    struct {
        int32_t **p;
        int64_t n;
    } arrays[] = {
        { &b->token, z->tokens },         { &b->position, z->tokens }, { &b->sample, z->tokens },
        { &b->start, z->segments },       { &b->length, z->segments }, { &b->parent, z->segments },
        { &b->row, z->targets },          { &b->target, z->targets },  { &b->last, z->sequences },
        { &b->offset, z->sequences + 1 },
    };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        void *p;
        PLUMB_TRY(plumb_arena_push(step, (size_t)arrays[i].n * sizeof(int32_t), &p));
        *arrays[i].p = p;
    }
    b->bytes = (size_t)(step->base + step->used - (char *)b->token);
    void *p;
    PLUMB_TRY(plumb_arena_push(step, (size_t)z->sequences * sizeof *b->example, &p));
    b->example = p;
    return PLUMB_OK;
}

int plumb_batch_plan(const struct plumb_batch_size *z, struct plumb_arena *step)
{
    const int64_t ints = 3 * z->tokens + 3 * z->segments + 2 * z->targets + 2 * z->sequences + 1;
    const size_t bytes = (size_t)ints * sizeof(int32_t) + 11 * PLUMB_ARENA_ALIGN;
    void *p;
    PLUMB_TRY(plumb_arena_push(step, bytes, &p));
    PLUMB_TRY(plumb_arena_push(step, (size_t)z->sequences * sizeof(int64_t), &p));
    return plumb_device_is_host(&step->dev)
               ? PLUMB_OK
               : plumb_arena_push(step, sizeof(struct plumb_batch), &p);
}

/* Sends the integers, which lie in one piece, and lets the batch point to where they arrive. */
static int send(const struct build *b, struct plumb_arena *step, struct plumb_batch *batch,
                const int32_t **last)
{
    void *kept, *there = plumb_arena_mirror(step, b->token);
    if (plumb_device_is_host(&step->dev)) return PLUMB_OK;
    PLUMB_TRY(plumb_arena_push(step, sizeof *batch, &kept));
    memcpy(kept, batch, sizeof *batch);
    const int32_t **const arrays[] = { &batch->token,          &batch->position,
                                       &batch->sample,         &batch->forest.start,
                                       &batch->forest.length,  &batch->forest.parent,
                                       &batch->targets.row,    &batch->targets.target,
                                       &batch->targets.offset, last };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        if (arrays[i]) *arrays[i] = (int32_t *)there + (*arrays[i] - b->token);
    batch->host = kept;
    return plumb_device_upload_ahead(&step->dev, there, b->token, b->bytes);
}

int plumb_batch_build(const struct plumb_batching *o, const struct plumb_example *e, int64_t count,
                      struct plumb_arena *step, struct plumb_batch *out, const int32_t **last_row)
{
    struct plumb_batch_size size = { 0 };
    for (int64_t i = 0; i < count; i++)
        plumb_batch_measure(o, &e[i], &size);
    if (size.tokens > INT32_MAX || size.targets > INT32_MAX)
        return plumb_fail(PLUMB_EINVAL, "a batch of %lld tokens is too large: lower the batch size",
                          (long long)size.tokens);
    struct build b = { 0 };
    PLUMB_TRY(allocate(&b, &size, step));
    b.offset[0] = 0;
    for (int64_t i = 0; i < count; i++) {
        const bool shared = shares(o, &e[i]);
        const int64_t start = b.N;
        int32_t prompt = -1;
        if (shared) {
            append(&b, &e[i], 0, e[i].prompt, 0);
            prompt = segment(&b, start, e[i].prompt.n, -1);
        }
        for (int s = 0; s < sides(o, &e[i]); s++)
            sequence(&b, o, &e[i], s, prompt, start);
    }
    third_sequences(&b, o, e, count);
    *out = (struct plumb_batch){
        .N = b.N,
        .token = b.token,
        .position = b.position,
        .sample = b.sample,
        .forest = { b.S, b.start, b.length, b.parent },
        .targets = { b.M, b.row, b.target, b.R, b.offset },
        .max_path = b.longest,
        .example = b.example,
    };
    if (last_row) *last_row = b.last;
    return send(&b, step, out, last_row);
}
