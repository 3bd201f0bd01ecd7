/* What AdamW must do whatever its code: identities of algorithm 2, and unbiased rounding. */
#include <plumb/optim.h>
#include <plumb/rng.h>

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/tensor.h"

enum { N = 1 << 16 };
static float grad[N], m[N], v[N], w[N];
static uint16_t narrow[N];
static uint8_t decay[N / 32];

static struct plumb_adamw step_of(int64_t count, struct plumb_tensor weights)
{
    return (struct plumb_adamw){ .struct_bytes = sizeof(struct plumb_adamw),
                                 .count = count,
                                 .grad = { grad, PLUMB_F32 },
                                 .m = { m, PLUMB_F32 },
                                 .v = { v, PLUMB_F32 },
                                 .w = weights,
                                 .lr = 1e-2,
                                 .beta1 = 0.9,
                                 .beta2 = 0.999,
                                 .eps = 1e-8,
                                 .grad_scale = 1,
                                 .step = 1 };
}
static const struct plumb_tensor wide = { w, PLUMB_F32 }, half = { narrow, PLUMB_BF16 };

static void step(const struct plumb_adamw *given)
{
    const struct plumb_device *dev = plumb_test_device();
    struct plumb_adamw a = *given;
    const size_t n = (size_t)a.count, wide_bytes = n * sizeof(float);
    struct plumb_test_array list[] = {
        { .at = &a.grad.data, .bytes = wide_bytes },
        { .at = &a.m.data, .bytes = wide_bytes },
        { .at = &a.v.data, .bytes = wide_bytes },
        { .at = &a.w.data, .bytes = n * plumb_dtype_bytes(a.w.dtype) },
        { .at = &a.copy.data, .bytes = n * sizeof *narrow },
        { .at = &a.decay, .bytes = (n + 31) / 32 },
        { .at = &a.norm, .bytes = sizeof *a.norm },
    };
    const int arrays = sizeof list / sizeof *list;
    plumb_test_arrays_to(dev, list, arrays);
    cr_assert_eq(plumb_adamw(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
    plumb_test_arrays_back(dev, list, arrays);
}

/* With a constant gradient both bias-corrected moments are exact at every t, so each step is
 * lr g / (|g| + eps). t steps of a few roundings each: 8 t eps of the largest number involved. */
Test(adamw, a_constant_gradient_moves_by_lr_at_every_step)
{
    enum { STEPS = 200, K = 5 };
    const float g[K] = { 1, -3, 1e-8f, 1e-4f, -2e-8f };
    struct plumb_adamw a = step_of(K, wide);
    for (int i = 0; i < K; i++)
        grad[i] = g[i], w[i] = 0.5f;
    for (; a.step <= STEPS; a.step++) {
        step(&a);
        for (int i = 0; i < K; i++) {
            const double gi = (double)g[i], t = (double)a.step;
            const double want = 0.5 - t * a.lr * gi / (fabs(gi) + a.eps);
            const double size = fmax(0.5, fabs(want)) + t * a.lr;
            cr_assert(fabs((double)w[i] - want) <= 8 * t * FLT_EPSILON * size,
                      "gradient %g, step %lld: %g, not %g", gi, (long long)a.step, (double)w[i],
                      want);
        }
    }
}

/* Independent f64 recursion, expanded: m_t = (1-b1) sum of b1^(t-s) g_s, likewise v_t. */
Test(adamw, agrees_with_the_sums_that_the_moments_stand_for)
{
    enum { STEPS = 20 };
    struct plumb_adamw a = step_of(1, wide);
    double truth = 0.25, g[STEPS + 1];
    w[0] = 0.25f, decay[0] = 1;
    a.decay = decay, a.weight_decay = 0.1, a.grad_scale = 0.5, a.beta2 = 0.95;
    for (; a.step <= STEPS; a.step++) {
        double mt = 0, vt = 0, power1 = 1, power2 = 1;
        grad[0] = (float)sin((double)a.step);
        g[a.step] = (double)grad[0] * 0.5;
        for (int64_t s = a.step; s >= 1; s--, power1 *= a.beta1, power2 *= a.beta2) {
            mt += (1 - a.beta1) * power1 * g[s];
            vt += (1 - a.beta2) * power2 * g[s] * g[s];
        }
        truth = truth * (1 - a.lr * a.weight_decay) -
                a.lr * (mt / (1 - power1)) / (sqrt(vt / (1 - power2)) + a.eps);
        step(&a);
        cr_assert_float_eq((double)w[0], truth, 8 * (double)a.step * FLT_EPSILON, "step %lld",
                           (long long)a.step);
    }
}

Test(adamw, decay_is_apart_from_the_gradient_and_spares_unmarked_runs)
{
    struct plumb_adamw a = step_of(70, wide);
    for (int i = 0; i < 70; i++)
        w[i] = 2;
    decay[1] = 1;
    a.decay = decay, a.lr = 0.5, a.weight_decay = 0.25;
    step(&a);
    for (int i = 0; i < 70; i++) {
        const float want = i >= 32 && i < 64 ? 1.75f : 2;
        cr_assert(w[i] == want && m[i] == 0 && v[i] == 0, "w[%d] is %g", i, (double)w[i]);
    }
    a.decay = NULL;
    step(&a);
    cr_expect(w[40] == 1.75f);
}

Test(adamw, the_copy_is_the_master_rounded)
{
    struct plumb_adamw a = step_of(1000, wide);
    for (int i = 0; i < 1000; i++)
        w[i] = (float)sin(i), grad[i] = (float)cos(i);
    a.copy = half;
    step(&a);
    for (int i = 0; i < 1000; i++) {
        const uint32_t bits = (uint32_t)narrow[i] << 16;
        float got;
        memcpy(&got, &bits, 4);
        cr_assert_eq((double)got, plumb_dtype_round(PLUMB_BF16, (double)w[i]), "copy[%d]", i);
    }
}

/* Weights of 1 shrink to 1 - 2^-11, an eighth of the way to bf16's next number below: that is taken
 * where the 16 bits added to f32's 0x3f7fe000 do not carry into the upper half. */
static int64_t shrink_at_random(int64_t at)
{
    struct plumb_adamw a = step_of(N, half);
    int64_t down = 0;
    memset(decay, 1, sizeof decay);
    for (int i = 0; i < N; i++)
        narrow[i] = 0x3f80;
    a.decay = decay, a.lr = 0x1p-10, a.weight_decay = 0.5, a.step = at, a.seed = 11, a.first = 96;
    step(&a);
    const struct plumb_rng_key key = { 11, PLUMB_RNG_ROUND, (uint64_t)at };
    for (int i = 0; i < N; i++) {
        uint32_t word[4];
        plumb_rng_block(&key, (uint64_t)(96 + i), word);
        const uint16_t want = (word[0] & 0xffff) >= 0x2000 ? 0x3f80 : 0x3f7f;
        cr_assert_eq(narrow[i], want, "element %d of step %lld: %#x", i, (long long)at, narrow[i]);
        down += narrow[i] == 0x3f7f;
    }
    return down;
}

/* A binomial count with p = 1/8: five standard deviations hold but once in a million seeds. */
static void is_unbiased(void)
{
    const double n = 3.0 * N, p = 0.125;
    const double down = (double)(shrink_at_random(1) + shrink_at_random(2) +
                                 shrink_at_random(1000));
    cr_expect(fabs(down - n * p) <= 5 * sqrt(n * p * (1 - p)), "%g of %g went down", down, n);
}

Test(adamw, stochastic_rounding_follows_its_key_and_is_unbiased) { is_unbiased(); }

Test(adamw, stochastic_rounding_is_the_same_on_the_baseline)
{
    setenv("PLUMB_ISA", "v2", 1);
    is_unbiased();
}

/* The factor from a norm is the factor given: the same bits. */
Test(adamw, clips_by_the_norm_it_is_given)
{
    float given[100];
    const double norm = 4, factor = 0.25 * plumb_clip_factor(norm, 1);
    for (int pass = 0; pass < 2; pass++) {
        struct plumb_adamw a = step_of(100, wide);
        for (int i = 0; i < 100; i++)
            w[i] = 0.5f, grad[i] = (float)sin(i), m[i] = v[i] = 0.01f;
        a.grad_scale = pass ? 0.25 : factor;
        a.norm = pass ? &norm : NULL;
        a.max_grad_norm = 1;
        step(&a);
        if (!pass) memcpy(given, w, sizeof given);
    }
    cr_expect_arr_eq(w, given, sizeof given);
}

Test(adamw, a_norm_that_is_not_finite_changes_nothing)
{
    const double bad[] = { NAN, INFINITY };
    for (int k = 0; k < 2; k++) {
        struct plumb_adamw a = step_of(40, wide);
        for (int i = 0; i < 40; i++)
            w[i] = m[i] = v[i] = 0.5f, grad[i] = 1, narrow[i] = 7;
        a.copy = half, a.norm = &bad[k], a.decay = decay, a.weight_decay = 0.1;
        memset(decay, 1, sizeof decay);
        step(&a);
        for (int i = 0; i < 40; i++)
            cr_assert(w[i] == 0.5f && m[i] == 0.5f && v[i] == 0.5f && narrow[i] == 7);
        a.copy.data = NULL, a.w = half;
        step(&a);
        for (int i = 0; i < 40; i++)
            cr_assert(narrow[i] == 7 && m[i] == 0.5f && v[i] == 0.5f);
    }
}

Test(adamw, refuses_numbers_out_of_range)
{
    struct plumb_adamw a = step_of(4, wide);
    a.step = 0;
    cr_expect_eq(plumb_adamw(&plumb_cpu, &a), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), "step=0"), "message was: %s", plumb_errmsg());
    a.step = 1, a.beta2 = 1;
    cr_expect_eq(plumb_adamw(&plumb_cpu, &a), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), "beta2=1"), "message was: %s", plumb_errmsg());
    a.beta2 = 0.9, a.lr = NAN;
    cr_expect_eq(plumb_adamw(&plumb_cpu, &a), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), "lr=nan"), "message was: %s", plumb_errmsg());
}
