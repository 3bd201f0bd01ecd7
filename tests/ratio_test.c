/* What generation writes is what training reads: a fresh sample's log-probs are those of a training
 * pass to the bit, so its importance ratio is exactly 1. */
#include <criterion/criterion.h>
#include <math.h>
#include <plumb/device.h>
#include <stdio.h>
#include <string.h>

#include "algos/policy.h"
#include "runtime/generate.h"
#include "runtime/read.h"
#include "runtime/transfer.h"

enum { V = 97, PROMPTS = 3, SAMPLES = 4, NEW = 24, LONGEST = 70 };
static const int64_t lengths[PROMPTS] = { 5, LONGEST, 1 };

struct world {
    struct plumb_arena run, step, cache;
    struct plumb_model m;
    struct plumb_generator g;
    int32_t prompt[PROMPTS][LONGEST];
    int64_t handed, count[PROMPTS][SAMPLES];
    int32_t id[PROMPTS][SAMPLES][NEW];
    double logp[PROMPTS][SAMPLES][NEW], sampled[PROMPTS][SAMPLES][NEW];
};

static int next(void *self, struct plumb_prompt *p, bool *found)
{
    struct world *w = self;
    *found = w->handed < PROMPTS;
    if (!*found) return PLUMB_OK;
    const int64_t i = w->handed++;
    *p = (struct plumb_prompt){ .id = w->prompt[i],
                                .n = lengths[i],
                                .samples = SAMPLES,
                                .seed = 3,
                                .sequence = (uint64_t)(i * SAMPLES),
                                .index = i };
    return PLUMB_OK;
}

static int done(void *self, const struct plumb_completion *c)
{
    struct world *w = self;
    const int64_t p = c->prompt.index, k = c->sample;
    w->count[p][k] = c->count;
    memcpy(w->id[p][k], c->id, (size_t)c->count * sizeof *c->id);
    memcpy(w->logp[p][k], c->logp, (size_t)c->count * sizeof *c->logp);
    memcpy(w->sampled[p][k], c->sampled_logp, (size_t)c->count * sizeof *c->sampled_logp);
    return PLUMB_OK;
}

static void open_world(struct world *w, const struct plumb_device *dev, enum plumb_dtype compute)
{
    const struct plumb_model_config c = { .family = "llama",
                                          .vocab = V,
                                          .width = 32,
                                          .layers = 2,
                                          .heads = 4,
                                          .kv_heads = 2,
                                          .head_size = 8,
                                          .ffn = 48,
                                          .max_positions = 128,
                                          .norm = PLUMB_NORM_RMS,
                                          .norm_eps = 1e-5,
                                          .act = PLUMB_ACT_SWIGLU,
                                          .rope = PLUMB_ROPE_HALF,
                                          .rope_dims = 8,
                                          .rope_theta = 100,
                                          .embed_scale = 1,
                                          .attention_scale = 0.35355339059327379,
                                          .logit_scale = 1,
                                          .bos_id = -1,
                                          .eos_id = -1,
                                          .pad_id = -1 };
    const struct plumb_generate_size size = { .tokens = 16 * PLUMB_KV_PAGE,
                                              .rows = 21,
                                              .texts = 9,
                                              .prompts = LONGEST,
                                              .most = NEW,
                                              .biases = 1,
                                              .penalty = true };
    memset(w, 0, sizeof *w);
    for (int pass = 0; pass < 2; pass++) {
        struct plumb_arena *const all[] = { &w->run, &w->step, &w->cache };
        for (int i = 0; i < 3; i++)
            if (!pass)
                plumb_arena_init_counting_on(all[i], "ratio", dev);
            else
                cr_assert_eq(plumb_arena_init_like(all[i], all[i], 1), PLUMB_OK);
        cr_assert_eq(plumb_model_init(&w->m, &c, dev, compute, PLUMB_MODEL_TRAINED, 128, &w->run),
                     PLUMB_OK);
        cr_assert_eq(plumb_generator_init(&w->g, &w->m, &size, &w->cache), PLUMB_OK);
        void *room;
        if (!pass) cr_assert_eq(plumb_arena_push(&w->step, 32 << 20, &room), PLUMB_OK);
        if (!pass && dev->kind == PLUMB_DEV_CUDA)
            cr_assert_eq(plumb_arena_push_device(&w->step, 32 << 20, &room), PLUMB_OK);
    }
    cr_assert_eq(plumb_model_random(&w->m, 5, 0.4, &w->step), PLUMB_OK, "%s", plumb_errmsg());
    for (int p = 0; p < PROMPTS; p++)
        for (int i = 0; i < LONGEST; i++)
            w->prompt[p][i] = (7 * i + 13 * p + i * i) % V;
}

static void close_world(struct world *w)
{
    plumb_arena_release(&w->run);
    plumb_arena_release(&w->step);
    plumb_arena_release(&w->cache);
}

/* A training pass over prompts [first, last) with their samples; counts tokens compared. */
static int64_t compare(struct world *w, double temperature, int64_t first, int64_t last, bool share,
                       const char *name)
{
    struct plumb_example e[PROMPTS];
    struct plumb_ids candidate[PROMPTS][SAMPLES];
    struct plumb_batch b;
    struct plumb_pass pass;
    struct plumb_tensor logp;
    int64_t at = 0;
    plumb_arena_empty(&w->step);
    for (int64_t p = first; p < last; p++) {
        for (int k = 0; k < SAMPLES; k++)
            candidate[p][k] = (struct plumb_ids){ w->id[p][k], w->count[p][k] };
        e[p - first] = (struct plumb_example){ .prompt = { w->prompt[p], lengths[p] },
                                               .candidate = candidate[p],
                                               .candidates = SAMPLES };
    }
    const struct plumb_batching how = { .share_prompts = share };
    cr_assert_eq(plumb_batch_build(&how, e, last - first, &w->step, &b, NULL), PLUMB_OK);
    const int64_t M = b.targets.M;
    cr_assert_eq(plumb_pass_init(&pass, &w->m, &b, b.N, M, true, &w->step), PLUMB_OK);
    pass.head.temperature = temperature;
    const int32_t group[2] = { 0, (int32_t)M };
    pass.acts.backward = false;
    cr_assert_eq(plumb_pass_run(&w->m, &pass, group, 1, NULL, NULL), PLUMB_OK, "%s",
                 plumb_errmsg());
    cr_assert_eq(plumb_twin_of(&w->step, pass.head.logp, M, &logp), PLUMB_OK);
    cr_assert_eq(plumb_device_sync(&w->m.dev), PLUMB_OK);
    for (int64_t p = first; p < last; p++)
        for (int k = 0; k < SAMPLES; k++)
            for (int64_t i = 0; i < w->count[p][k]; i++, at++) {
                const float ratio = expf((float)(plumb_tensor_get(logp, at) - w->logp[p][k][i]));
                cr_assert(ratio == 1.0f && plumb_tensor_get(logp, at) == w->logp[p][k][i],
                          "%s: prompt %d, sample %d, token %d: %.9g, in training %.9g", name,
                          (int)p, k, (int)i, w->logp[p][k][i], plumb_tensor_get(logp, at));
            }
    cr_assert_eq(at, M);
    return at;
}

static void check(const struct plumb_device *dev, enum plumb_dtype compute, const char *name)
{
    static const int32_t token = 5;
    static const float bias = 0.5f;
    static const struct plumb_generation_config how[] = {
        { .temperature = 1, .top_p = 1, .repetition_penalty = 1, .max_new_tokens = NEW },
        { .temperature = 0.6,
          .top_k = 20,
          .top_p = 0.9,
          .min_p = 0.02,
          .repetition_penalty = 1.3,
          .biases = 1,
          .bias_token = &token,
          .bias = &bias,
          .max_new_tokens = NEW },
    };
    static struct world w;
    int64_t tokens = 0;
    open_world(&w, dev, compute);
    for (int i = 0; i < 2; i++) {
        const struct plumb_generate_io io = { .self = &w, .next = next, .done = done };
        w.handed = 0;
        cr_assert_eq(plumb_generate(&w.g, &how[i], &io), PLUMB_OK, "%s", plumb_errmsg());
        tokens += compare(&w, how[i].temperature, 0, PROMPTS, true, name);
        compare(&w, how[i].temperature, 0, PROMPTS, false, name);
        for (int64_t p = 0; p < PROMPTS; p++)
            compare(&w, how[i].temperature, p, p + 1, true, name);
    }
    printf("ratio: %s: %lld tokens, every ratio 1\n", name, (long long)tokens);
    cr_expect_eq(tokens, 2 * PROMPTS * SAMPLES * NEW);
    close_world(&w);
}

Test(ratio, is_one_on_the_cpu)
{
    check(&plumb_cpu, PLUMB_F32, "cpu, float32");
    check(&plumb_cpu, PLUMB_BF16, "cpu, bfloat16");
    check(&plumb_ref, PLUMB_F64, "ref");
}

Test(ratio, is_one_on_the_device_code, .timeout = 250)
{
    struct plumb_device *dev;
    if (plumb_device_new("cuda-sim", &dev)) {
        printf("ratio: skipped on cuda-sim: %s\n", plumb_errmsg());
        return;
    }
    check(dev, PLUMB_F32, "cuda-sim, float32");
    check(dev, PLUMB_BF16, "cuda-sim, bfloat16");
    plumb_device_delete(dev);
}
