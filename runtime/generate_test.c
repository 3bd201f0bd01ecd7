/* Generation against the pass that training runs, bit for bit, and its ways to end. */
#include "runtime/generate.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "runtime/read.h"

enum { V = 23, PROMPT = 70, NEW = 30, TEXT = PROMPT + NEW };

static struct plumb_model_config llama(void)
{
    return (struct plumb_model_config){
        .family = "llama",
        .vocab = V,
        .width = 12,
        .layers = 2,
        .heads = 4,
        .kv_heads = 2,
        .head_size = 6,
        .ffn = 10,
        .max_positions = 128,
        .norm = PLUMB_NORM_RMS,
        .norm_eps = 1e-5,
        .act = PLUMB_ACT_SWIGLU,
        .rope = PLUMB_ROPE_HALF,
        .rope_dims = 6,
        .rope_theta = 100,
        .embed_scale = 1,
        .attention_scale = 0.40824829046386302,
        .logit_scale = 1,
        .bos_id = -1,
        .eos_id = -1,
        .pad_id = -1,
    };
}

/* What architectures differ in; *name NULL past the end. */
static struct plumb_model_config variant(int i, const char **name)
{
    struct plumb_model_config c = llama();
    switch (i) {
    case 0: *name = "llama"; break;
    case 1:
        *name = "mistral: window";
        c.window = 20;
        c.window_layers = 2;
        break;
    case 2:
        *name = "qwen3: norms on q and k";
        c.tied = c.qk_norm = true;
        break;
    case 3:
        *name = "gpt2: learned positions, layer norm, biases, gelu";
        c.rope = PLUMB_ROPE_NONE;
        c.norm = PLUMB_NORM_LAYER;
        c.learned_positions = c.tied = c.qkv_bias = c.o_bias = c.mlp_bias = true;
        c.act = PLUMB_ACT_GELU_TANH;
        break;
    case 4:
        *name = "gpt_neox: parallel residual, partial rotary";
        c.norm = PLUMB_NORM_LAYER;
        c.rope_dims = 4;
        c.parallel_residual = c.qkv_bias = c.o_bias = c.mlp_bias = true;
        c.act = PLUMB_ACT_GELU_ERF;
        break;
    default: *name = NULL;
    }
    return c;
}

/* A model with random weights, a generator for texts of `capacity` tokens and a text. */
struct fixture {
    struct plumb_arena run, step, data;
    struct plumb_model m;
    struct plumb_generator g;
    int32_t text[TEXT];
};

static void open_generator(struct fixture *f, const struct plumb_generate_size *z)
{
    plumb_arena_release(&f->step);
    plumb_arena_init_counting_on(&f->step, "generation", &f->m.dev);
    cr_assert_eq(plumb_generator_init(&f->g, &f->m, z, &f->step), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(plumb_arena_init_like(&f->step, &f->step, 1), PLUMB_OK);
    cr_assert_eq(plumb_generator_init(&f->g, &f->m, z, &f->step), PLUMB_OK);
}

static void begin(struct fixture *f, const struct plumb_model_config *c,
                  const struct plumb_device *dev, enum plumb_dtype compute, int64_t capacity)
{
    *f = (struct fixture){ 0 };
    plumb_arena_init_counting_on(&f->run, "run", dev);
    cr_assert_eq(plumb_model_init(&f->m, c, dev, compute, PLUMB_MODEL_FROZEN, 128, &f->run),
                 PLUMB_OK);
    cr_assert_eq(plumb_arena_init_like(&f->run, &f->run, 1), PLUMB_OK);
    cr_assert_eq(plumb_model_init(&f->m, c, dev, compute, PLUMB_MODEL_FROZEN, 128, &f->run),
                 PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(plumb_arena_init(&f->data, "data", 16 << 20), PLUMB_OK);
    cr_assert_eq(plumb_model_random(&f->m, 5, 0.5, &f->data), PLUMB_OK);
    const struct plumb_generate_size alone = plumb_generate_alone(capacity);
    open_generator(f, &alone);
    for (int i = 0; i < TEXT; i++)
        f->text[i] = (7 * i + i * i) % V;
}

static void end(struct fixture *f)
{
    plumb_arena_release(&f->run);
    plumb_arena_release(&f->step);
    plumb_arena_release(&f->data);
}

/* Continues the fixture's prompt in place. */
static void generate(struct fixture *f)
{
    int64_t count;
    cr_assert_eq(
        plumb_generate_greedy(&f->g, f->text, PROMPT, NEW, NULL, 0, f->text + PROMPT, &count),
        PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(count, NEW);
}

/* Log-probs of text[from .. n) as a training pass over the whole text gives them. */
static void trained_logps(const struct plumb_model *m, double temperature, const int32_t *text,
                          int64_t from, int64_t n, double *out)
{
    struct plumb_arena step = { 0 };
    int32_t position[TEXT + NEW], start = 0, length = (int32_t)n, parent = -1;
    for (int64_t i = 0; i < n; i++)
        position[i] = (int32_t)i;
    const struct plumb_batch b = {
        .N = n,
        .token = text,
        .position = position,
        .forest = { 1, &start, &length, &parent },
        .targets = { .M = n - from, .row = position + from - 1, .target = text + from }
    };
    struct plumb_acts acts;
    struct plumb_head_out head;
    plumb_arena_init_counting(&step, "training");
    for (int pass = 0; pass < 2; pass++) {
        if (pass) cr_assert_eq(plumb_arena_init(&step, "training", step.peak), PLUMB_OK);
        cr_assert_eq(plumb_acts_init(&acts, m, n, n, true, &step), PLUMB_OK);
        cr_assert_eq(plumb_head_init(&head, m, n, n - from, false, &step), PLUMB_OK);
    }
    cr_assert_eq(plumb_model_forward(m, &b, &acts), PLUMB_OK, "%s", plumb_errmsg());
    acts.backward = false; /* the head is to fill its outputs only */
    struct plumb_logprob l = plumb_head_args(m, &b, &acts, &head);
    l.temperature = temperature;
    cr_assert_eq(plumb_logprob_fwd(&m->dev, &l), PLUMB_OK, "%s", plumb_errmsg());
    for (int64_t i = 0; i < n - from; i++)
        out[i] = plumb_tensor_get(head.logp, i);
    plumb_arena_release(&step);
}

/* Prompts of several lengths, several samples of each, and what became of them. */
enum { PROMPTS = 5, SAMPLES = 3, TEXTS = PROMPTS * SAMPLES };
static const int64_t prompt_length[PROMPTS] = { 1, 64, 70, 3, 65 };

struct outcome {
    int64_t count[TEXTS];
    int32_t id[TEXTS][NEW];
    double logp[TEXTS][NEW], sampled[TEXTS][NEW];
};

struct desk {
    const struct fixture *f;
    int64_t first, next, end, samples;
    struct outcome *out;
};

static int hand_out(void *self, struct plumb_prompt *p, bool *found)
{
    struct desk *d = self;
    *found = d->next < d->end;
    if (!*found) return PLUMB_OK;
    const int64_t i = d->next++;
    *p = (struct plumb_prompt){ .id = d->f->text + i,
                                .n = prompt_length[i],
                                .samples = d->samples,
                                .seed = 11,
                                .sequence = (uint64_t)(i * SAMPLES + d->first),
                                .index = i };
    return PLUMB_OK;
}

static int take_back(void *self, const struct plumb_completion *c)
{
    struct desk *d = self;
    const int64_t t = c->prompt.index * SAMPLES + d->first + c->sample;
    cr_assert_eq(d->out->count[t], 0, "text %d comes twice", (int)t);
    d->out->count[t] = c->count;
    memcpy(d->out->id[t], c->id, (size_t)c->count * sizeof *c->id);
    memcpy(d->out->logp[t], c->logp, (size_t)c->count * sizeof *c->logp);
    memcpy(d->out->sampled[t], c->sampled_logp, (size_t)c->count * sizeof *c->sampled_logp);
    return PLUMB_OK;
}

static void sample(struct fixture *f, const struct plumb_generation_config *how, int64_t prompt,
                   int64_t prompts, int64_t first, int64_t samples, struct outcome *out)
{
    struct desk d = { f, first, prompt, prompt + prompts, samples, out };
    const struct plumb_generate_io io = { .self = &d, .next = hand_out, .done = take_back };
    cr_assert_eq(plumb_generate(&f->g, how, &io), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect_eq(f->g.cache.spare, f->g.cache.pages);
}

/* Everything at once in the least room there may be, and each text on its own: the same texts, and
 * the log-probs of training. */
static void check_texts(const struct plumb_model_config *c, const struct plumb_device *dev,
                        enum plumb_dtype compute, const struct plumb_generation_config *how,
                        const char *name)
{
    static const struct plumb_generate_size rooms[] = {
        { .tokens = 30 * PLUMB_KV_PAGE,
          .rows = 40,
          .texts = TEXTS,
          .prompts = TEXT,
          .most = NEW,
          .biases = 2,
          .penalty = true },
        { .tokens = 5 * PLUMB_KV_PAGE,
          .rows = 7,
          .texts = 4,
          .prompts = TEXT,
          .most = NEW,
          .biases = 2,
          .penalty = true },
    };
    static struct outcome once, twice, alone;
    struct fixture f;
    begin(&f, c, dev, compute, TEXT);
    once = twice = alone = (struct outcome){ 0 };
    open_generator(&f, &rooms[0]);
    sample(&f, how, 0, PROMPTS, 0, SAMPLES, &once);
    open_generator(&f, &rooms[1]);
    sample(&f, how, 0, PROMPTS, 0, SAMPLES, &twice);
    cr_expect(!memcmp(&once, &twice, sizeof once), "%s: the texts depend on the room", name);
    for (int64_t p = 0; p < PROMPTS; p++)
        for (int64_t k = 0; k < SAMPLES; k++)
            sample(&f, how, p, 1, k, 1, &alone);
    cr_expect(!memcmp(&once, &alone, sizeof once), "%s: the texts depend on their neighbours",
              name);
    for (int64_t t = 0; t < TEXTS; t++) {
        const int64_t p = t / SAMPLES, n = prompt_length[p];
        int32_t text[TEXT + NEW];
        double logp[NEW];
        cr_assert_gt(once.count[t], 0);
        memcpy(text, f.text + p, (size_t)n * sizeof *text);
        memcpy(text + n, once.id[t], (size_t)once.count[t] * sizeof *text);
        trained_logps(&f.m, how->temperature > 0 ? how->temperature : 1, text, n, n + once.count[t],
                      logp);
        for (int64_t i = 0; i < once.count[t]; i++)
            cr_expect(once.logp[t][i] == logp[i], "%s: text %d, token %d: %.17g, in training %.17g",
                      name, (int)t, (int)i, once.logp[t][i], logp[i]);
    }
    end(&f);
}

static const int32_t biased[2] = { 3, 5 };
static const float bias[2] = { 1.5f, -2 };
static const struct plumb_generation_config greedy = { .repetition_penalty = 1,
                                                       .max_new_tokens = NEW };
static const struct plumb_generation_config warm = { .temperature = 0.7,
                                                     .top_k = 9,
                                                     .top_p = 0.9,
                                                     .min_p = 0.01,
                                                     .repetition_penalty = 1.2,
                                                     .biases = 2,
                                                     .bias_token = biased,
                                                     .bias = bias,
                                                     .max_new_tokens = NEW };

Test(generate, texts_are_those_of_one_alone_and_log_probs_those_of_training)
{
    const char *name;
    for (int i = 0;; i++) {
        const struct plumb_model_config c = variant(i, &name);
        if (!name) break;
        check_texts(&c, &plumb_cpu, PLUMB_F32, &warm, name);
        check_texts(&c, &plumb_cpu, PLUMB_BF16, &warm, name);
        check_texts(&c, &plumb_cpu, PLUMB_F32, &greedy, name);
        if (i < 2) check_texts(&c, &plumb_ref, PLUMB_F64, &warm, name);
    }
}

/* Samples differ from each other, and stay with their seed. */
Test(generate, each_sample_has_its_own_randomness)
{
    static struct outcome a, b;
    const struct plumb_generate_size z = { .tokens = 30 * PLUMB_KV_PAGE,
                                           .rows = 40,
                                           .texts = TEXTS,
                                           .prompts = TEXT,
                                           .most = NEW };
    const struct plumb_generation_config how = { .temperature = 1,
                                                 .top_p = 1,
                                                 .repetition_penalty = 1,
                                                 .max_new_tokens = NEW };
    const struct plumb_model_config c = llama();
    struct fixture f;
    begin(&f, &c, &plumb_cpu, PLUMB_F32, TEXT);
    open_generator(&f, &z);
    sample(&f, &how, 0, PROMPTS, 0, SAMPLES, &a);
    sample(&f, &how, 0, PROMPTS, 0, SAMPLES, &b);
    cr_expect(!memcmp(&a, &b, sizeof a));
    for (int t = 0; t < TEXTS; t += SAMPLES)
        for (int k = 1; k < SAMPLES; k++)
            cr_expect(memcmp(a.id[t], a.id[t + k], sizeof a.id[t]) != 0, "texts %d and %d", t,
                      t + k);
    end(&f);
}

Test(generate, what_does_not_fit_is_refused_by_name)
{
    const struct plumb_generate_size z = { .tokens = 2 * PLUMB_KV_PAGE,
                                           .rows = 4,
                                           .texts = 2,
                                           .prompts = TEXT,
                                           .most = NEW };
    const struct plumb_model_config c = llama();
    static struct outcome out;
    struct fixture f;
    begin(&f, &c, &plumb_cpu, PLUMB_F32, TEXT);
    open_generator(&f, &z);
    struct desk d = { &f, 0, 2, 3, 3, &out };
    const struct plumb_generate_io io = { .self = &d, .next = hand_out, .done = take_back };
    cr_expect_eq(plumb_generate(&f.g, &greedy, &io), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), "3 samples"), "%s", plumb_errmsg());
    d.next = 2, d.samples = 2;
    cr_expect_eq(plumb_generate(&f.g, &greedy, &io), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), "4 pages"), "%s", plumb_errmsg());
    cr_expect_eq(plumb_generate(&f.g, &warm, &io), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), "biases=2"), "%s", plumb_errmsg());
    d.next = 0, d.end = d.samples = 1; /* and the generator still works */
    cr_expect_eq(plumb_generate(&f.g, &greedy, &io), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect_eq(out.count[0], NEW);
    end(&f);
}

Test(generate, stops_behind_the_first_stop_id)
{
    struct fixture f;
    int32_t out[NEW];
    int64_t count;
    const struct plumb_model_config c = llama();
    begin(&f, &c, &plumb_cpu, PLUMB_F32, TEXT);
    generate(&f);
    const int32_t *all = f.text + PROMPT, stop[2] = { V, all[9] };
    int64_t first = 0;
    while (all[first] != stop[1])
        first++;
    cr_assert_eq(plumb_generate_greedy(&f.g, f.text, PROMPT, NEW, stop, 2, out, &count), PLUMB_OK);
    cr_expect_eq(count, first + 1);
    cr_expect(!memcmp(out, all, (size_t)count * sizeof *out));
    end(&f);
}

/* A text may fill the capacity: the last id is predicted from the last cached token. */
Test(generate, ends_at_the_capacity)
{
    struct fixture f;
    int32_t out[NEW] = { 0 };
    int64_t count;
    const struct plumb_model_config c = llama();
    begin(&f, &c, &plumb_cpu, PLUMB_F32, PROMPT + 3);
    const struct plumb_mark used = plumb_arena_mark(&f.step);
    cr_assert_eq(plumb_generate_greedy(&f.g, f.text, PROMPT, NEW, NULL, 0, out, &count), PLUMB_OK);
    cr_expect_eq(count, 4);
    cr_expect_eq(plumb_arena_mark(&f.step).host, used.host);
    cr_assert_eq(plumb_generate_greedy(&f.g, f.text, PROMPT, 0, NULL, 0, out, &count), PLUMB_OK);
    cr_expect_eq(count, 0);
    cr_expect_eq(plumb_generate_greedy(&f.g, f.text, 0, NEW, NULL, 0, out, &count), PLUMB_EINVAL);
    cr_expect_eq(plumb_generate_greedy(&f.g, f.text, PROMPT + 4, 1, NULL, 0, out, &count),
                 PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), "74 tokens"), "%s", plumb_errmsg());
    end(&f);
}

Test(generate, a_prompt_does_not_see_the_one_before)
{
    struct fixture f;
    int32_t alone[NEW], after[NEW];
    int64_t count;
    const struct plumb_model_config c = llama();
    begin(&f, &c, &plumb_cpu, PLUMB_F32, TEXT);
    cr_assert_eq(plumb_generate_greedy(&f.g, f.text + 3, 5, NEW, NULL, 0, alone, &count), PLUMB_OK);
    generate(&f);
    cr_assert_eq(plumb_generate_greedy(&f.g, f.text + 3, 5, NEW, NULL, 0, after, &count), PLUMB_OK);
    cr_expect(!memcmp(alone, after, sizeof alone));
    end(&f);
}

Test(generate, weights_that_are_not_finite_are_an_error)
{
    struct fixture f;
    int32_t out[NEW];
    int64_t count;
    const struct plumb_model_config c = llama();
    begin(&f, &c, &plumb_cpu, PLUMB_F32, TEXT);
    const struct plumb_param *p = plumb_model_find(&f.m, PLUMB_ROLE_NORMF, -1);
    plumb_tensor_set(f.m.weights, p->offset, NAN);
    cr_expect_eq(plumb_generate_greedy(&f.g, f.text, PROMPT, NEW, NULL, 0, out, &count),
                 PLUMB_ENUM);
    cr_expect(strstr(plumb_errmsg(), "not finite"), "%s", plumb_errmsg());
    end(&f);
}
