/* A small decoder with its head, in every architecture, on two pairs; and a linear objective. */
#pragma once
#include "algos/policy.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "runtime/read.h"

#define V 23
#define PAIRS 2

static inline struct plumb_model_config llama(void)
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
        .max_positions = 64,
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

/* One config for each thing that architectures differ in. */
static inline struct plumb_model_config variant(int i, const char **name)
{
    struct plumb_model_config c = llama();
    switch (i) {
    case 0: *name = "llama"; break;
    case 1:
        *name = "qwen2: tied, biases on q/k/v";
        c.tied = c.qkv_bias = true;
        break;
    case 2:
        *name = "qwen3: norms on q and k";
        c.tied = c.qk_norm = true;
        break;
    case 3:
        *name = "mistral: window";
        c.window = 3;
        c.window_layers = 1;
        break;
    case 4:
        *name = "gpt2: learned positions, layer norm, biases, gelu";
        c.rope = PLUMB_ROPE_NONE;
        c.norm = PLUMB_NORM_LAYER;
        c.learned_positions = c.tied = c.qkv_bias = c.o_bias = c.mlp_bias = true;
        c.act = PLUMB_ACT_GELU_TANH;
        break;
    case 5:
        *name = "gpt_neox: parallel residual, partial rotary";
        c.norm = PLUMB_NORM_LAYER;
        c.rope_dims = 4;
        c.parallel_residual = c.qkv_bias = c.o_bias = c.mlp_bias = true;
        c.act = PLUMB_ACT_GELU_ERF;
        break;
    case 6:
        *name = "gemma: scaled embedding, norm offset, softcaps, geglu";
        c.embed_scale = 3.5;
        c.norm_offset = 1;
        c.act = PLUMB_ACT_GEGLU_TANH;
        c.attention_softcap = 5;
        c.final_softcap = 4;
        c.logit_scale = 0.7;
        c.tied = true;
        break;
    default: *name = NULL;
    }
    return c;
}

static int32_t ids[PAIRS][3][12];

static inline void make_examples(struct plumb_example e[PAIRS])
{
    const int64_t lengths[PAIRS][3] = { { 5, 4, 3 }, { 3, 2, 6 } };
    for (int p = 0; p < PAIRS; p++) {
        for (int s = 0; s < 3; s++)
            for (int i = 0; i < 12; i++)
                ids[p][s][i] = (7 * i + 5 * s + 11 * p + i * i) % V;
        e[p] = (struct plumb_example){ .row = p,
                                       .prompt = { ids[p][0], lengths[p][0] },
                                       .completion = { { ids[p][1], lengths[p][1] },
                                                       { ids[p][2], lengths[p][2] } } };
    }
}

/* A model, a batch and a linear objective: sum over targets of coefficient * logp. */
struct fixture {
    struct plumb_arena run, step, data;
    struct plumb_model m;
    struct plumb_batch batch;
    struct plumb_pass pass;
    struct plumb_example e[PAIRS];
    int32_t group[PAIRS + 1];
};

static inline double coefficient(int64_t i) { return sin(1.7 * (double)i + 0.3); }

static inline int epilogue(void *ctx, int64_t first, int64_t count)
{
    struct fixture *f = ctx;
    for (int64_t i = first; i < first + count; i++)
        if (f->pass.head.dlogp.data) plumb_tensor_set(f->pass.head.dlogp, i, coefficient(i));
    return PLUMB_OK;
}

static inline void open_fixture(struct fixture *f, const struct plumb_model_config *c,
                                const struct plumb_device *dev, enum plumb_dtype compute,
                                bool share, bool recompute, int64_t first, int64_t count)
{
    memset(f, 0, sizeof *f);
    cr_assert_eq(plumb_arena_init(&f->run, "run", 1 << 24), 0);
    cr_assert_eq(plumb_arena_init(&f->step, "step", 1 << 26), 0);
    cr_assert_eq(plumb_arena_init(&f->data, "data", 1 << 20), 0);
    cr_assert_eq(plumb_model_init(&f->m, c, dev, compute, PLUMB_MODEL_TRAINED, 32, &f->run), 0,
                 "%s", plumb_errmsg());
    f->m.recompute = recompute;
    cr_assert_eq(plumb_model_random(&f->m, 5, 0.3, &f->step), 0, "%s", plumb_errmsg());
    make_examples(f->e);
    const struct plumb_batching o = { .share_prompts = share };
    cr_assert_eq(plumb_batch_build(&o, f->e + first, count, &f->data, &f->batch, NULL), 0);
    cr_assert_eq(plumb_batch_check(&f->batch, V), 0, "%s", plumb_errmsg());
    for (int64_t i = 0; i <= count; i++)
        f->group[i] = f->batch.targets.offset[2 * i];
}

static inline double run(struct fixture *f, bool backward)
{
    const int64_t M = f->batch.targets.M;
    plumb_arena_empty(&f->step);
    cr_assert_eq(plumb_pass_init(&f->pass, &f->m, &f->batch, f->batch.N, M, backward, &f->step), 0);
    cr_assert_eq(plumb_pass_run(&f->m, &f->pass, f->group, f->batch.targets.R / 2, epilogue, f), 0,
                 "%s", plumb_errmsg());
    double sum = 0;
    for (int64_t i = 0; i < M; i++)
        sum += coefficient(i) * plumb_tensor_get(f->pass.head.logp, i);
    return sum;
}

static inline void close_fixture(struct fixture *f)
{
    plumb_arena_release(&f->run);
    plumb_arena_release(&f->step);
    plumb_arena_release(&f->data);
}
