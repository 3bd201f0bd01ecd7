#include <plumb/gae.h>

#include <criterion/criterion.h>
#include <math.h>
#include <plumb/reduce.h>
#include <string.h>

#include "tests/tensor.h"

enum { MAX = 4096 };

struct batch {
    int64_t R;
    int32_t offset[9], counted[MAX];
    double reward[MAX], value[MAX], baseline[8], advantage[MAX], returns[MAX];
};

static void append(struct batch *b, int32_t tokens)
{
    const int32_t first = b->offset[b->R++];
    b->offset[b->R] = first + tokens;
    for (int32_t t = first; t < first + tokens; t++) {
        b->counted[t] = 1;
        b->reward[t] = 0.25 * ((t * 7) % 11) - 1;
        b->value[t] = 0.5 * ((t * 5) % 7) - 1.5;
    }
}

static void run(const struct plumb_device *dev, double gamma, double lambda, bool values,
                struct batch *b)
{
    const enum plumb_dtype t = dev->kind == PLUMB_DEV_REF ? PLUMB_F64 : PLUMB_F32;
    const int64_t M = b->offset[b->R];
    struct plumb_gae a = { .struct_bytes = sizeof a,
                           .R = b->R,
                           .offset = plumb_test_copy(dev, b->offset, sizeof b->offset),
                           .counted = plumb_test_copy(dev, b->counted, sizeof b->counted),
                           .reward = plumb_test_tensor(t, M, b->reward),
                           .baseline = plumb_test_tensor(t, b->R, b->baseline),
                           .gamma = gamma,
                           .lambda = lambda,
                           .advantage = plumb_test_tensor(t, M, NULL),
                           .returns = plumb_test_tensor(t, M, NULL) };
    if (values) a.value = plumb_test_tensor(t, M, b->value);
    struct plumb_tensor *all[] = { &a.reward, &a.value, &a.baseline, &a.advantage, &a.returns };
    const int64_t count[] = { M, M, b->R, M, M };
    for (int i = 0; i < 5; i++)
        plumb_test_to(dev, all[i], count[i]);
    cr_assert_eq(plumb_gae(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
    for (int i = 0; i < 5; i++)
        plumb_test_from(dev, all[i], count[i]);
    for (int64_t i = 0; i < M; i++) {
        b->advantage[i] = plumb_test_get(&a.advantage, i);
        b->returns[i] = plumb_test_get(&a.returns, i);
    }
    for (int i = 0; i < 5; i++)
        plumb_test_free(all[i]);
}

Test(gae, discounted_returns_that_a_hand_can_compute)
{
    struct batch b = { 0 };
    append(&b, 3);
    b.reward[0] = 1, b.reward[1] = 2, b.reward[2] = 4;
    b.baseline[0] = 0.5;
    run(plumb_test_device(), 0.5, 1, false, &b);
    cr_expect(b.returns[0] == 3 && b.returns[1] == 4 && b.returns[2] == 4);
    cr_expect(b.advantage[0] == 2.5 && b.advantage[1] == 3.5 && b.advantage[2] == 3.5);
}

/* lambda = 1: returns are discounted rewards whatever the values; lambda = 0: one-step errors. */
Test(gae, ends_of_lambda)
{
    struct batch one = { 0 }, plain;
    append(&one, 300);
    append(&one, 1);
    append(&one, 0);
    append(&one, 129);
    plain = one;
    run(plumb_test_device(), 0.75, 1, true, &one);
    run(plumb_test_device(), 0.75, 1, false, &plain);
    for (int32_t t = 0; t < one.offset[one.R]; t++)
        cr_expect_float_eq(one.returns[t], plain.returns[t], 2e-6);
    run(plumb_test_device(), 0.75, 0, true, &one);
    for (int64_t r = 0; r < one.R; r++)
        for (int32_t t = one.offset[r]; t < one.offset[r + 1]; t++) {
            const double next = t + 1 < one.offset[r + 1] ? one.value[t + 1] : 0;
            cr_expect_eq(one.advantage[t], one.reward[t] + 0.75 * next - one.value[t]);
        }
}

/* Skipped tokens are as good as absent, and hold what they like. */
Test(gae, a_skipped_token_is_no_step_of_time)
{
    struct batch gaps = { 0 }, dense = { 0 };
    append(&gaps, 400);
    for (int32_t t = 0; t < 400; t++) {
        gaps.counted[t] = t % 3 != 1;
        if (!gaps.counted[t]) gaps.reward[t] = gaps.value[t] = NAN;
    }
    int32_t n = 0;
    for (int32_t t = 0; t < 400; t++) {
        dense.reward[n] = gaps.reward[t], dense.value[n] = gaps.value[t];
        dense.counted[n] = 1;
        n += gaps.counted[t];
    }
    dense.R = 1, dense.offset[1] = n;
    run(plumb_test_device(), 0.9, 0.95, true, &gaps);
    run(plumb_test_device(), 0.9, 0.95, true, &dense);
    n = 0;
    for (int32_t t = 0; t < 400; t++) {
        const double a = gaps.counted[t] ? dense.advantage[n] : 0;
        const double g = gaps.counted[t] ? dense.returns[n] : 0;
        n += gaps.counted[t];
        cr_expect_float_eq(gaps.advantage[t], a, 1e-6);
        cr_expect_float_eq(gaps.returns[t], g, 1e-6);
    }
}

/* The same tokens at another place in memory, behind another sequence. */
Test(gae, bits_depend_on_the_sequence_alone)
{
    for (int32_t before = 0; before < 9; before++) {
        struct batch b = { 0 };
        append(&b, before);
        append(&b, 261);
        append(&b, 3);
        for (int32_t t = 0; t < 261; t++) {
            b.reward[before + t] = 0.1 * ((t * 7) % 11) - 1;
            b.value[before + t] = 0.3 * ((t * 5) % 7) - 1.5;
        }
        static double first[261];
        run(plumb_test_device(), 0.99, 0.95, true, &b);
        for (int32_t t = 0; t < 261; t++) {
            if (before == 0) first[t] = b.advantage[t];
            cr_expect_eq(b.advantage[before + t], first[t]);
        }
    }
}

Test(gae, infinities_saturate_nan_stays_in_its_sequence)
{
    struct batch b = { 0 };
    append(&b, 3);
    append(&b, 3);
    b.reward[2] = 3e38, b.reward[1] = 3e38, b.reward[4] = NAN;
    run(plumb_test_device(), 1, 1, false, &b);
    for (int t = 0; t < 3; t++)
        cr_expect(isfinite(b.advantage[t]) && b.advantage[t] > 2e38);
    cr_expect(isnan(b.advantage[3]) && isnan(b.advantage[4]) && isfinite(b.advantage[5]));
}

/* Macro actions: sums of rewards and means of values over macros, one step a macro, spread back.
 * Macros of one token are plain estimation. */
Test(gae, macro_actions_are_segment_sums_around_it)
{
    struct batch b = { 0 }, macro = { 0 };
    append(&b, 6);
    b.baseline[0] = 0;
    const int32_t at[4] = { 0, 2, 3, 6 };
    double sum[3] = { 0 }, spread[6];
    struct plumb_segsum s = { .struct_bytes = sizeof s,
                              .M = 6,
                              .R = 3,
                              .offset = at,
                              .x = { b.reward, PLUMB_F64 },
                              .y = { macro.reward, PLUMB_F64 } };
    cr_assert_eq(plumb_segsum_fwd(&plumb_ref, &s), PLUMB_OK);
    s.mean = true, s.x.data = b.value, s.y.data = macro.value;
    cr_assert_eq(plumb_segsum_fwd(&plumb_ref, &s), PLUMB_OK);
    macro.R = 1, macro.offset[1] = 3;
    macro.counted[0] = macro.counted[1] = macro.counted[2] = 1;
    run(&plumb_ref, 0.9, 0.8, true, &macro);
    double next = 0, later = 0;
    for (int k = 2; k >= 0; k--) { /* the definition, by hand */
        double r = 0, v = 0;
        for (int32_t t = at[k]; t < at[k + 1]; t++)
            r += b.reward[t], v += b.value[t] / (at[k + 1] - at[k]);
        later = r + 0.9 * next - v + 0.72 * later, next = v;
        sum[k] = later;
    }
    s = (struct plumb_segsum){ .struct_bytes = sizeof s,
                               .M = 6,
                               .R = 3,
                               .offset = at,
                               .dy = { macro.advantage, PLUMB_F64 },
                               .dx = { spread, PLUMB_F64 } };
    cr_assert_eq(plumb_segsum_bwd(&plumb_ref, &s), PLUMB_OK);
    for (int k = 0; k < 3; k++)
        for (int32_t t = at[k]; t < at[k + 1]; t++)
            cr_expect_float_eq(spread[t], sum[k], 1e-14);
}

Test(gae, names_the_argument_that_is_wrong)
{
    enum { CASES = 7 };
    float v[1] = { -1 }, o[1], p[1];
    const int32_t offset[2] = { 0, 1 }, back[2] = { 1, 0 };
    const struct plumb_gae good = { .struct_bytes = sizeof good,
                                    .R = 1,
                                    .offset = offset,
                                    .reward = { v, PLUMB_F32 },
                                    .gamma = 1,
                                    .lambda = 1,
                                    .advantage = { o, PLUMB_F32 },
                                    .returns = { p, PLUMB_F32 } };
    struct plumb_gae bad[CASES];
    static const char *const word[CASES] = { "gamma=1.5",         "lambda=-1",   "R=-1",
                                             "reward is missing", "offset[1]=0", "same memory",
                                             "value cannot" };
    cr_assert_eq(plumb_gae(&plumb_cpu, &good), PLUMB_OK, "%s", plumb_errmsg());
    for (int i = 0; i < CASES; i++)
        bad[i] = good;
    bad[0].gamma = 1.5;
    bad[1].lambda = -1;
    bad[2].R = -1;
    bad[3].reward.data = NULL;
    bad[4].offset = back;
    bad[5].returns = good.reward;
    bad[6].value = (struct plumb_tensor){ v, PLUMB_I32 };
    for (int i = 0; i < CASES; i++) {
        cr_expect_eq(plumb_gae(&plumb_cpu, &bad[i]), PLUMB_EINVAL, "case %d", i);
        cr_expect(strstr(plumb_errmsg(), word[i]), "case %d, message was: %s", i, plumb_errmsg());
    }
}
