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
    int32_t text[TEXT], row[TEXT];
};

static void begin(struct fixture *f, const struct plumb_model_config *c,
                  const struct plumb_device *dev, enum plumb_dtype compute, int64_t capacity)
{
    cr_assert_eq(plumb_arena_init(&f->run, "run", 8 << 20), PLUMB_OK);
    cr_assert_eq(plumb_arena_init(&f->data, "data", 16 << 20), PLUMB_OK);
    cr_assert_eq(plumb_model_init(&f->m, c, dev, compute, PLUMB_MODEL_FROZEN, 128, &f->run),
                 PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(plumb_model_random(&f->m, 5, 0.5, &f->data), PLUMB_OK);
    plumb_arena_init_counting(&f->step, "generation");
    cr_assert_eq(plumb_generator_plan(&f->m, capacity, &f->step), PLUMB_OK);
    cr_assert_eq(plumb_arena_init(&f->step, "generation", f->step.peak), PLUMB_OK);
    cr_assert_eq(plumb_generator_init(&f->g, &f->m, capacity, &f->step), PLUMB_OK);
    for (int i = 0; i < TEXT; i++) {
        f->text[i] = (7 * i + i * i) % V;
        f->row[i] = i;
    }
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

/* What the network says about rows [first, first + n) of the text, the cache holding those before
 * them; without a cache, as a training pass that keeps its activations. */
struct said {
    struct plumb_acts acts;
    struct plumb_head_out head;
};

static void say(struct fixture *f, int64_t first, int64_t n, struct plumb_kvcache *cache,
                struct said *s)
{
    const struct plumb_model *m = &f->m;
    const int32_t start = 0, length = (int32_t)n, parent = -1, whole = (int32_t)(first + n);
    const struct plumb_batch b = { .N = n,
                                   .token = f->text + first,
                                   .position = f->row + first,
                                   .forest = { 1, &start, &length, &parent },
                                   .targets = { .M = first + n < TEXT ? n : n - 1,
                                                .row = f->row,
                                                .target = f->text + first + 1 } };
    cr_assert_eq(plumb_acts_init(&s->acts, m, n, first + n, cache == NULL, &f->data), PLUMB_OK);
    cr_assert_eq(plumb_head_init(&s->head, m, n, n, false, &f->data), PLUMB_OK);
    s->acts.cache = cache;
    if (cache) {
        cache->whole = (struct plumb_forest){ 1, &start, &whole, &parent };
        cache->q_start = &start;
        cache->q_count = &length;
    }
    cr_assert_eq(plumb_model_forward(m, &b, &s->acts), PLUMB_OK, "%s", plumb_errmsg());
    s->acts.backward = false; /* the head is to fill its outputs only */
    const struct plumb_logprob l = plumb_head_args(m, &b, &s->acts, &s->head);
    cr_assert_eq(plumb_logprob_fwd(&m->dev, &l), PLUMB_OK, "%s", plumb_errmsg());
    if (cache) cache->length += n;
}

static bool same_bits(struct plumb_tensor a, int64_t from, struct plumb_tensor b, int64_t n)
{
    const size_t size = plumb_dtype_bytes(a.dtype);
    return !memcmp((char *)a.data + (size_t)from * size, b.data, (size_t)n * size);
}

/* Rows [first, first + n) said in one piece of `whole` and alone in `part`. */
static void expect_same(const struct said *whole, const struct said *part, int64_t first, int64_t n,
                        int64_t width, const char *name)
{
    const int64_t targets = first + n < TEXT ? n : n - 1;
    cr_expect(same_bits(whole->acts.hidden, first * width, part->acts.hidden, n * width),
              "%s: hidden states of rows from %d on differ", name, (int)first);
    cr_expect(same_bits(whole->head.logp, first, part->head.logp, targets), "%s: log-prob %d", name,
              (int)first);
    cr_expect(same_bits(whole->head.entropy, first, part->head.entropy, targets), "%s: entropy %d",
              name, (int)first);
}

/* The prompt in one piece or in two, then token by token, against the text as one training row. */
static void check_bits(const struct plumb_model_config *c, const struct plumb_device *dev,
                       enum plumb_dtype compute, const char *name)
{
    struct fixture f;
    struct said whole, part;
    begin(&f, c, dev, compute, TEXT);
    generate(&f);
    say(&f, 0, TEXT, NULL, &whole);
    for (int i = PROMPT; i < TEXT; i++)
        cr_expect_eq(whole.head.argmax[i - 1], f.text[i], "%s: token %d", name, i);
    const struct plumb_mark mark = plumb_arena_mark(&f.data);
    for (int64_t piece = PROMPT; piece > 0; piece -= 29) {
        f.g.cache.length = 0;
        for (int64_t at = 0, n = piece; at < TEXT; at += n, n = at < PROMPT ? PROMPT - at : 1) {
            say(&f, at, n, &f.g.cache, &part);
            expect_same(&whole, &part, at, n, c->width, name);
            plumb_arena_reset(&f.data, mark);
        }
    }
    end(&f);
}

Test(generate, decoding_has_the_bits_of_a_training_pass)
{
    const char *name;
    for (int i = 0;; i++) {
        const struct plumb_model_config c = variant(i, &name);
        if (!name) break;
        check_bits(&c, &plumb_cpu, PLUMB_F32, name);
        check_bits(&c, &plumb_cpu, PLUMB_BF16, name);
        check_bits(&c, &plumb_ref, PLUMB_F64, name);
    }
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
