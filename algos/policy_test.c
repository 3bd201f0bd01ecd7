/* The whole decoder with its head: gradients by central differences in f64 for every
 * architecture, recomputation, and a packed forest against its sequences alone. */
#include "algos/policy.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "runtime/read.h"

#define V 23
#define PAIRS 2

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
static struct plumb_model_config variant(int i, const char **name)
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

static void make_examples(struct plumb_example e[PAIRS])
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

static double coefficient(int64_t i) { return sin(1.7 * (double)i + 0.3); }

static int epilogue(void *ctx, int64_t first, int64_t count)
{
    struct fixture *f = ctx;
    for (int64_t i = first; i < first + count; i++)
        if (f->pass.head.dlogp.data) plumb_tensor_set(f->pass.head.dlogp, i, coefficient(i));
    return PLUMB_OK;
}

static void open_fixture(struct fixture *f, const struct plumb_model_config *c,
                         const struct plumb_device *dev, enum plumb_dtype compute, bool share,
                         bool recompute, int64_t first, int64_t count)
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

static double run(struct fixture *f, bool backward)
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

static void close_fixture(struct fixture *f)
{
    plumb_arena_release(&f->run);
    plumb_arena_release(&f->step);
    plumb_arena_release(&f->data);
}

/* d objective along `direction` on parameter p, by central differences at step h. */
static double difference(struct fixture *f, const struct plumb_param *p, double h)
{
    double value[2];
    for (int s = 0; s < 2; s++) {
        const double sign = s ? -h : h;
        for (int pass = 0; pass < 2; pass++) {
            for (int64_t i = 0; i < p->rows * p->cols; i++) {
                const int64_t at = p->offset + i;
                const double w = plumb_tensor_get(f->m.master, at), d = cos(0.9 * (double)i);
                plumb_tensor_set(f->m.master, at, w + (pass ? -sign : sign) * d);
            }
            if (pass == 0) value[s] = run(f, false);
        }
    }
    return (value[0] - value[1]) / (2 * h);
}

Test(policy, gradients_of_every_architecture_agree_with_differences, .timeout = 120)
{
    const char *name;
    int checked = 0;
    for (int v = 0; variant(v, &name), name; v++) {
        const struct plumb_model_config c = variant(v, &name);
        struct fixture f;
        open_fixture(&f, &c, &plumb_ref, PLUMB_F64, true, v % 2, 0, PAIRS);
        plumb_model_zero_grad(&f.m);
        run(&f, true);
        for (int64_t k = 0; k < f.m.param_count; k++) {
            const struct plumb_param *p = &f.m.params[k];
            double along = 0;
            for (int64_t i = 0; i < p->rows * p->cols; i++)
                along += plumb_tensor_get(f.m.grad, p->offset + i) * cos(0.9 * (double)i);
            const double h = 1e-3, coarse = difference(&f, p, h), fine = difference(&f, p, h / 2);
            const double best = fine + (fine - coarse) / 3;
            cr_expect(fabs(best - along) <= fabs(fine - coarse) + 1e-9,
                      "%s: %s (layer %d): gradient %.12g, by differences %.12g", name,
                      plumb_role_name(p->role), (int)p->layer, along, best);
            checked++;
        }
        close_fixture(&f);
    }
    printf("policy: gradients of %d parameters checked by central differences\n", checked);
    cr_assert_gt(checked, 0);
}

/* Recomputation runs the same products on the same numbers. */
Test(policy, recomputation_changes_no_bit)
{
    const struct plumb_model_config c = llama();
    struct fixture a, b;
    open_fixture(&a, &c, &plumb_cpu, PLUMB_F32, true, false, 0, PAIRS);
    open_fixture(&b, &c, &plumb_cpu, PLUMB_F32, true, true, 0, PAIRS);
    plumb_model_zero_grad(&a.m);
    plumb_model_zero_grad(&b.m);
    run(&a, true);
    run(&b, true);
    cr_expect(!memcmp(a.m.grad.data, b.m.grad.data, (size_t)a.m.elements * 4));
    close_fixture(&a);
    close_fixture(&b);
}

/* Target i of the packed batch is target j of example p's own batch. */
static void packed_equals_alone(enum plumb_dtype compute, bool share)
{
    const char *name;
    for (int v = 0; variant(v, &name), name; v++) {
        const struct plumb_model_config c = variant(v, &name);
        struct fixture packed;
        open_fixture(&packed, &c, &plumb_cpu, compute, share, false, 0, PAIRS);
        run(&packed, false);
        int64_t at = 0;
        for (int64_t p = 0; p < PAIRS; p++) {
            struct fixture alone;
            open_fixture(&alone, &c, &plumb_cpu, compute, false, false, p, 1);
            run(&alone, false);
            for (int64_t i = 0; i < alone.batch.targets.M; i++, at++) {
                const double x = plumb_tensor_get(packed.pass.head.logp, at);
                const double y = plumb_tensor_get(alone.pass.head.logp, i);
                cr_expect(x == y, "%s, %s: target %lld has logp %.9g packed and %.9g alone", name,
                          plumb_dtype_name(compute), (long long)at, x, y);
            }
            close_fixture(&alone);
        }
        cr_assert_eq(at, packed.batch.targets.M);
        close_fixture(&packed);
    }
}

Test(policy, a_packed_forest_gives_each_row_the_bits_it_has_alone, .timeout = 60)
{
    packed_equals_alone(PLUMB_F32, false);
    packed_equals_alone(PLUMB_F32, true);
    packed_equals_alone(PLUMB_BF16, true);
}

/* Gradients sum over rows: equal within twice the error that f32 has anyway (f64 on ref as
 * truth). */
Test(policy, gradients_of_a_shared_prompt_are_those_of_its_sequences)
{
    const struct plumb_model_config c = llama();
    struct fixture truth, shared, apart;
    open_fixture(&truth, &c, &plumb_ref, PLUMB_F64, false, false, 0, PAIRS);
    open_fixture(&shared, &c, &plumb_cpu, PLUMB_F32, true, false, 0, PAIRS);
    open_fixture(&apart, &c, &plumb_cpu, PLUMB_F32, false, false, 0, PAIRS);
    struct fixture *const all[] = { &truth, &shared, &apart };
    for (int i = 0; i < 3; i++) {
        plumb_model_zero_grad(&all[i]->m);
        run(all[i], true);
    }
    for (int64_t k = 0; k < truth.m.param_count; k++) {
        const struct plumb_param *p = &truth.m.params[k];
        double error = 0, yard = 0, scale = 0;
        for (int64_t i = p->offset; i < p->offset + p->rows * p->cols; i++) {
            const double t = plumb_tensor_get(truth.m.grad, i);
            error = fmax(error, fabs(plumb_tensor_get(shared.m.grad, i) - t));
            yard = fmax(yard, fabs(plumb_tensor_get(apart.m.grad, i) - t));
            scale = fmax(scale, fabs(t));
        }
        cr_expect(error <= 2 * yard + plumb_dtype_eps(PLUMB_F32) * scale,
                  "%s: error %g, alone %g, largest %g", plumb_role_name(p->role), error, yard,
                  scale);
    }
    for (int i = 0; i < 3; i++)
        close_fixture(all[i]);
}
