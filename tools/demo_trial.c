/* Greedy answers to held-out orders, judged. */
#include "tools/demo_trial.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/dataset.h"
#include "io/tokenizer.h"
#include "tools/demo_data.h"

#define CAPACITY 80 /* tokens of a prompt and its answer: twice the longest of the data */

/* Everything that the arena holds, and how much of it generating takes beside. */
static int lay_out(struct plumb_demo_trial *t, struct plumb_arena *arena)
{
    PLUMB_TRY(plumb_model_init(&t->model, &t->hf.config.model, &plumb_cpu, PLUMB_F32,
                               PLUMB_MODEL_FROZEN, CAPACITY, arena));
    const struct plumb_generate_size size = plumb_generate_alone(CAPACITY);
    return plumb_generator_init(&t->generator, &t->model, &size, arena);
}

static int read_prompts(struct plumb_demo_trial *t)
{
    for (int64_t i = 0; i < t->pairs.count; i++) {
        struct plumb_example e;
        char *text;
        size_t n;
        PLUMB_TRY(t->pairs.get(t->pairs.self, i, &e));
        PLUMB_TRY(t->text.decode(t->text.self, e.prompt.id, e.prompt.n, true, &text, &n));
        snprintf(t->prompt[i], sizeof t->prompt[i], "%s", text);
        free(text);
    }
    return PLUMB_OK;
}

int plumb_demo_trial_open(struct plumb_demo_trial *t, const char *model_dir, const char *pairs)
{
    const struct plumb_dataset_options o = { .paths = &pairs,
                                             .path_count = 1,
                                             .use = PLUMB_USE_PREFERENCE,
                                             .text = &t->text };
    *t = (struct plumb_demo_trial){ 0 };
    PLUMB_TRY(plumb_hf_model_open(&t->hf, model_dir, 0));
    PLUMB_TRY(plumb_tokenizer_open(&t->text, model_dir));
    PLUMB_TRY(plumb_dataset_open(&o, &t->pairs));
    plumb_arena_init_counting(&t->arena, "demo");
    PLUMB_TRY(lay_out(t, &t->arena));
    PLUMB_TRY(plumb_arena_init(&t->arena, "demo", t->arena.peak));
    PLUMB_TRY(lay_out(t, &t->arena));
    const size_t rows = (size_t)t->pairs.count;
    t->prompt = calloc(rows, sizeof *t->prompt);
    t->before = calloc(rows, sizeof *t->before);
    t->after = calloc(rows, sizeof *t->after);
    if (!t->prompt || !t->before || !t->after)
        return plumb_fail(PLUMB_EMEM, "could not allocate %zu answers", rows);
    return read_prompts(t);
}

void plumb_demo_trial_release(struct plumb_demo_trial *t)
{
    plumb_arena_release(&t->arena);
    plumb_dataset_release(&t->pairs);
    plumb_tokenizer_release(&t->text);
    plumb_hf_model_release(&t->hf);
    free(t->prompt);
    free(t->before);
    free(t->after);
    *t = (struct plumb_demo_trial){ 0 };
}

static int answer(struct plumb_demo_trial *t, int64_t i, struct plumb_demo_reply *reply)
{
    static const int32_t stop = PLUMB_DEMO_EOS;
    struct plumb_example e;
    int32_t id[CAPACITY];
    int64_t count;
    char *text;
    size_t n;
    PLUMB_TRY(t->pairs.get(t->pairs.self, i, &e));
    PLUMB_TRY(plumb_generate_greedy(&t->generator, e.prompt.id, e.prompt.n, CAPACITY - e.prompt.n,
                                    &stop, 1, id, &count));
    PLUMB_TRY(t->text.decode(t->text.self, id, count, true, &text, &n));
    const bool ended = count > 0 && id[count - 1] == stop;
    reply->verdict = ended ? plumb_demo_judge(t->prompt[i], text) : PLUMB_DEMO_UNREADABLE;
    snprintf(reply->text, sizeof reply->text, "%s", text);
    free(text);
    return PLUMB_OK;
}

/* With the weights that the model holds. */
static int run(struct plumb_demo_trial *t, int64_t count, struct plumb_demo_reply *reply,
               int64_t *good)
{
    struct plumb_demo_reply own;
    *good = 0;
    for (int64_t i = 0; i < count && i < t->pairs.count; i++) {
        struct plumb_demo_reply *r = reply ? &reply[i] : &own;
        PLUMB_TRY(answer(t, i, r));
        *good += r->verdict == PLUMB_DEMO_GOOD;
    }
    return PLUMB_OK;
}

int plumb_demo_trial_run(struct plumb_demo_trial *t, struct plumb_tensor weights, int64_t count,
                         struct plumb_demo_reply *reply, int64_t *good)
{
    PLUMB_TRY(plumb_model_fill(&t->model, weights.data, weights.dtype));
    return run(t, count, reply, good);
}

int plumb_demo_trial_folder(struct plumb_demo_trial *t, const char *dir, int64_t count,
                            struct plumb_demo_reply *reply, int64_t *good)
{
    struct plumb_hf_model hf;
    PLUMB_TRY(plumb_hf_model_open(&hf, dir, 0));
    const struct plumb_tensor w = plumb_model_exact(&t->model);
    int rc = plumb_hf_model_read(&hf, w.dtype, w.data, false);
    plumb_hf_model_release(&hf);
    return rc ? rc : run(t, count, reply, good);
}
