/* The whole decoder with its head: gradients by central differences in f64 for every
 * architecture, recomputation, and a packed forest against its sequences alone. */
#include <stdio.h>

#include "algos/policy_fixture.h"

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
