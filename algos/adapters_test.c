/* Adapters in the whole decoder: gradients by central differences in f64 for every architecture,
 * with and without dropout, and what must change no bit. */
#include <stdio.h>

#include "algos/policy_fixture.h"
#include "runtime/adapters.h"

enum { RANK = 3, MOST = 32 };

/* Rows of q and of v, all of the others: as many adapters on a matrix as PEFT has modules there. */
struct plan {
    struct plumb_adapter adapter[MOST];
    int64_t whole[4];
    struct plumb_lora lora;
};

static void add(struct plan *p, int64_t param, int64_t first, int64_t rows)
{
    p->adapter[p->lora.count++] = (struct plumb_adapter){ .param = param,
                                                          .first = first,
                                                          .rows = rows };
}

static void make_plan(struct plan *p, const struct plumb_model *m, double dropout)
{
    const struct plumb_model_config *c = &m->config;
    const int64_t q = c->heads * c->head_size, kv = c->kv_heads * c->head_size;
    *p = (struct plan){ .lora = { .rank = RANK, .scale = 1.5, .dropout = dropout } };
    p->lora.adapter = p->adapter;
    p->lora.whole = p->whole;
    for (int64_t k = 0; k < m->param_count; k++) {
        const struct plumb_param *w = &m->params[k];
        switch (w->role) {
        case PLUMB_ROLE_QKV:
            add(p, k, 0, q);
            add(p, k, q + kv, kv);
            break;
        case PLUMB_ROLE_O:
        case PLUMB_ROLE_DOWN: add(p, k, 0, w->rows); break;
        case PLUMB_ROLE_UP:
            if (w->layer == 0) add(p, k, w->rows / 2, w->rows / 2);
            break;
        case PLUMB_ROLE_NORMF:
        case PLUMB_ROLE_HEAD: p->whole[p->lora.whole_count++] = k; break;
        default: break;
        }
    }
}

/* A fixture whose base is frozen: the same weights as without adapters. */
static void open_adapted(struct fixture *f, struct plan *p, const struct plumb_model_config *c,
                         const struct plumb_device *dev, enum plumb_dtype compute, bool share,
                         bool recompute, double dropout)
{
    open_fixture(f, c, dev, compute, share, recompute, 0, PAIRS);
    f->m.grad.data = NULL;
    make_plan(p, &f->m, dropout);
    cr_assert_eq(plumb_adapters_init(&f->m, &p->lora, PLUMB_MODEL_TRAINED, &f->run), 0, "%s",
                 plumb_errmsg());
    cr_assert_eq(plumb_adapters_start(&f->m, 7), 0, "%s", plumb_errmsg());
    f->m.adapters.seed = 3;
    f->m.adapters.step = 1;
}

/* B as training might have left it. */
static void move_b(struct fixture *f)
{
    const struct plumb_flat t = plumb_model_trained(&f->m);
    for (int64_t i = 0; i < f->m.adapters.lora.count; i++) {
        const struct plumb_adapter *a = &f->m.adapters.lora.adapter[i];
        for (int64_t k = 0; k < a->rows * RANK; k++)
            plumb_tensor_set(plumb_flat_exact(&t), a->b + k, 0.2 * sin(1.3 * (double)(k + i)));
    }
    cr_assert_eq(plumb_model_refresh(&f->m), 0);
}

static double moved(struct fixture *f, const struct plumb_param *p, double h)
{
    const struct plumb_tensor w = plumb_model_trained(&f->m).master;
    double value[2];
    for (int s = 0; s < 2; s++) {
        const double sign = s ? -h : h;
        for (int pass = 0; pass < 2; pass++) {
            for (int64_t i = 0; i < p->rows * p->cols; i++)
                plumb_tensor_set(w, p->offset + i,
                                 plumb_tensor_get(w, p->offset + i) +
                                     (pass ? -sign : sign) * cos(0.9 * (double)i));
            if (pass == 0) value[s] = run(f, true); /* a training pass: it drops */
        }
    }
    return (value[0] - value[1]) / (2 * h);
}

static int check_gradients(struct fixture *f, const char *name)
{
    const struct plumb_flat t = plumb_model_trained(&f->m);
    double along[128];
    cr_assert_leq(t.param_count, 128);
    plumb_model_zero_grad(&f->m);
    run(f, true);
    for (int64_t k = 0; k < t.param_count; k++) {
        along[k] = 0;
        for (int64_t i = 0; i < t.params[k].rows * t.params[k].cols; i++)
            along[k] += plumb_tensor_get(t.grad, t.params[k].offset + i) * cos(0.9 * (double)i);
    }
    for (int64_t k = 0; k < t.param_count; k++) {
        const double h = 1e-3, coarse = moved(f, &t.params[k], h),
                     fine = moved(f, &t.params[k], h / 2), best = fine + (fine - coarse) / 3;
        char text[160];
        cr_expect(fabs(best - along[k]) <= fabs(fine - coarse) + 1e-9,
                  "%s: %lld, %s: gradient %.12g, by differences %.12g", name, (long long)k,
                  plumb_model_owner(&f->m, t.params[k].offset, text, sizeof text), along[k], best);
        cr_expect(along[k] != 0, "%s: %lld", name, (long long)k);
    }
    return (int)t.param_count;
}

Test(adapters, gradients_of_every_architecture_agree_with_differences, .timeout = 240)
{
    const char *name;
    int checked = 0;
    for (int v = 0; variant(v, &name), name; v++)
        for (int drops = 0; drops < 2; drops++) {
            const struct plumb_model_config c = variant(v, &name);
            struct fixture f;
            struct plan p;
            open_adapted(&f, &p, &c, &plumb_ref, PLUMB_F64, true, v % 2, drops ? 0.3 : 0);
            move_b(&f);
            checked += check_gradients(&f, name);
            close_fixture(&f);
        }
    printf("adapters: gradients of %d parameters checked by central differences\n", checked);
    cr_assert_gt(checked, 0);
}

/* B is zero. */
Test(adapters, fresh_ones_give_the_bits_of_the_base)
{
    const char *name;
    const enum plumb_dtype types[] = { PLUMB_F32, PLUMB_BF16 };
    for (int v = 0; variant(v, &name), name; v++)
        for (int k = 0; k < 2; k++) {
            const struct plumb_model_config c = variant(v, &name);
            struct fixture base, adapted;
            struct plan p;
            open_fixture(&base, &c, &plumb_cpu, types[k], true, false, 0, PAIRS);
            open_adapted(&adapted, &p, &c, &plumb_cpu, types[k], true, false, 0.1);
            cr_assert_eq(plumb_model_refresh(&adapted.m), 0);
            run(&base, false);
            run(&adapted, true);
            for (int64_t i = 0; i < base.batch.targets.M; i++)
                cr_expect_eq(plumb_tensor_get(base.pass.head.logp, i),
                             plumb_tensor_get(adapted.pass.head.logp, i), "%s: target %lld", name,
                             (long long)i);
            close_fixture(&base);
            close_fixture(&adapted);
        }
}

static void same_gradients(struct fixture *a, struct fixture *b, double most)
{
    const struct plumb_flat x = plumb_model_trained(&a->m), y = plumb_model_trained(&b->m);
    plumb_model_zero_grad(&a->m);
    plumb_model_zero_grad(&b->m);
    run(a, true);
    run(b, true);
    double difference = 0;
    for (int64_t i = 0; i < x.elements; i++)
        difference = fmax(difference,
                          fabs(plumb_tensor_get(x.grad, i) - plumb_tensor_get(y.grad, i)));
    cr_expect_leq(difference, most, "%g", difference);
}

/* The mask of a row is drawn again by its name alone. */
Test(adapters, recomputation_and_shared_prompts_draw_the_same_masks)
{
    const struct plumb_model_config c = llama();
    struct fixture a, b;
    struct plan p, q;
    open_adapted(&a, &p, &c, &plumb_cpu, PLUMB_F32, true, false, 0.4);
    open_adapted(&b, &q, &c, &plumb_cpu, PLUMB_F32, true, true, 0.4);
    move_b(&a);
    move_b(&b);
    same_gradients(&a, &b, 0);
    close_fixture(&a);
    close_fixture(&b);
    open_adapted(&a, &p, &c, &plumb_ref, PLUMB_F64, true, false, 0.4);
    open_adapted(&b, &q, &c, &plumb_ref, PLUMB_F64, false, false, 0.4);
    move_b(&a);
    move_b(&b);
    same_gradients(&a, &b, 1e-12);
    b.m.adapters.step = 2;
    run(&a, true);
    const double one = plumb_tensor_get(a.pass.head.logp, 3);
    run(&b, true);
    cr_expect_neq(one, plumb_tensor_get(b.pass.head.logp, 3), "another step, another mask");
    close_fixture(&a);
    close_fixture(&b);
}

/* W + scale B A as weights. */
Test(adapters, a_merged_model_is_the_same_function)
{
    const struct plumb_model_config c = llama();
    struct fixture adapted, merged;
    struct plan p;
    open_adapted(&adapted, &p, &c, &plumb_ref, PLUMB_F64, true, false, 0);
    open_fixture(&merged, &c, &plumb_ref, PLUMB_F64, true, false, 0, PAIRS);
    move_b(&adapted);
    const double *flat = plumb_model_trained(&adapted.m).weights.data;
    for (int64_t i = 0; i < p.lora.count; i++) {
        const struct plumb_adapter *a = &p.adapter[i];
        const struct plumb_param *w = &merged.m.params[a->param];
        double *to = (double *)merged.m.weights.data + w->offset + a->first * w->cols;
        for (int64_t r = 0; r < a->rows; r++)
            for (int64_t j = 0; j < w->cols; j++)
                for (int64_t k = 0; k < RANK; k++)
                    to[r * w->cols + j] += p.lora.scale * flat[a->b + r * RANK + k] *
                                           flat[a->a + k * w->cols + j];
    }
    run(&adapted, false);
    run(&merged, false);
    for (int64_t i = 0; i < merged.batch.targets.M; i++)
        cr_expect_float_eq(plumb_tensor_get(adapted.pass.head.logp, i),
                           plumb_tensor_get(merged.pass.head.logp, i), 1e-12);
    close_fixture(&adapted);
    close_fixture(&merged);
}

Test(adapters, plans_that_do_not_fit_the_model_are_refused)
{
    const struct plumb_model_config c = llama();
    struct fixture f;
    struct plan good, bad;
    open_fixture(&f, &c, &plumb_cpu, PLUMB_F32, true, false, 0, PAIRS);
    f.m.grad.data = NULL;
    make_plan(&good, &f.m, 0);
    for (int i = 0; i < 6; i++) {
        bad = good;
        bad.lora.adapter = bad.adapter;
        bad.lora.whole = bad.whole;
        if (i == 0) bad.lora.rank = 0;
        if (i == 1) bad.adapter[0].param = f.m.param_count;
        if (i == 2) bad.adapter[0].rows = 1000;
        if (i == 3) bad.adapter[1].first = 0;
        if (i == 4) bad.adapter[0].param = 0; /* the embedding */
        if (i == 5) bad.whole[0] = -1;
        cr_expect_eq(plumb_adapters_init(&f.m, &bad.lora, PLUMB_MODEL_TRAINED, &f.run),
                     PLUMB_EINVAL, "%d", i);
        cr_expect(strstr(plumb_errmsg(), "lora: "), "%s", plumb_errmsg());
    }
    close_fixture(&f);
}
