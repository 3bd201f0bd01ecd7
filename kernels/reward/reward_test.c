#include <plumb/reward.h>

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "tests/tensor.h"

enum { MAX = 64, ARRAYS = 9 };

struct batch {
    int64_t B;
    double score[2 * MAX], margin[MAX], losses[MAX], dscore[2 * MAX];
    double target[MAX], sign[2 * MAX], anchor[2 * MAX], danchor[2 * MAX], weight[MAX];
};

static void append(struct batch *b, double chosen, double rejected, double margin)
{
    const int64_t i = b->B++;
    cr_assert_lt(i, MAX);
    b->score[2 * i] = chosen, b->score[2 * i + 1] = rejected, b->margin[i] = margin;
    b->target[i] = (double)(i % 3) - 1;
    b->sign[2 * i] = -1, b->sign[2 * i + 1] = i % 2 ? 1 : -1;
    b->weight[i] = 1;
}

/* Options of a formula that leave none undefined. */
static const struct plumb_reward defaults = {
    .loss = PLUMB_REWARD_BRADLEY_TERRY, .divisor = 1, .ties = 1.5, .bias = 1
};

static void run_call(const struct plumb_device *dev, const struct plumb_reward *call,
                     struct batch *b)
{
    const enum plumb_dtype t = dev->kind == PLUMB_DEV_REF ? PLUMB_F64 : PLUMB_F32;
    struct plumb_reward a = *call;
    a.struct_bytes = sizeof a, a.B = b->B;
    struct {
        struct plumb_tensor *at;
        double *values;
        int64_t count;
        bool out;
    } all[ARRAYS] = {
        { &a.score, b->score, 2 * b->B, false },   { &a.margin, b->margin, b->B, false },
        { &a.target, b->target, b->B, false },     { &a.sign, b->sign, 2 * b->B, false },
        { &a.anchor, b->anchor, 2 * b->B, false }, { &a.weight, b->weight, b->B, false },
        { &a.losses, b->losses, b->B, true },      { &a.dscore, b->dscore, 2 * b->B, true },
        { &a.danchor, b->danchor, 2 * b->B, true }
    };
    for (int i = 0; i < ARRAYS; i++) {
        *all[i].at = plumb_test_tensor(t, all[i].count, all[i].out ? NULL : all[i].values);
        plumb_test_to(dev, all[i].at, all[i].count);
    }
    cr_assert_eq(plumb_reward(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
    for (int i = 0; i < ARRAYS; i++) {
        plumb_test_from(dev, all[i].at, all[i].count);
        for (int64_t k = 0; all[i].out && k < all[i].count; k++)
            all[i].values[k] = plumb_test_get(all[i].at, k);
        plumb_test_free(all[i].at);
    }
}

static void run(const struct plumb_device *dev, double center, double divisor, struct batch *b)
{
    struct plumb_reward a = defaults;
    a.center_coefficient = center, a.divisor = divisor;
    run_call(dev, &a, b);
}

Test(reward, equal_scores_lose_ln_2_and_push_apart)
{
    struct batch b = { 0 };
    append(&b, 3, 3, 0);
    run(plumb_test_device(), 0, 4, &b);
    cr_expect_eq(b.losses[0], (double)(float)log(2));
    cr_expect(b.dscore[0] == -0.125 && b.dscore[1] == 0.125);
}

Test(reward, a_common_offset_changes_only_the_centring)
{
    struct batch a = { 0 }, b = { 0 };
    append(&a, 1.5, -0.25, 0.5);
    append(&b, 1.5 + 8, -0.25 + 8, 0.5);
    run(&plumb_ref, 0, 1, &a);
    run(&plumb_ref, 0, 1, &b);
    cr_expect_eq(a.losses[0], b.losses[0]);
    const double alone = b.losses[0];
    run(&plumb_ref, 0.01, 1, &b);
    cr_expect_float_eq(b.losses[0] - alone, 0.01 * 17.25 * 17.25, 1e-14);
}

Test(reward, extremes_keep_their_digits_and_the_largest_saturate)
{
    struct batch cpu = { 0 }, ref, huge = { 0 };
    for (int i = 0; i < 4; i++)
        append(&cpu, i & 1 ? 1e4 : -1e4, i & 2 ? 200 : -200, 0);
    for (int i = 0; i < 4; i++)
        append(&huge, i & 1 ? 3e38 : -3e38, i & 2 ? 3e38 : -3e38, 0);
    ref = cpu;
    run(plumb_test_device(), 0.125, 4, &cpu);
    run(&plumb_ref, 0.125, 4, &ref);
    for (int i = 0; i < 4; i++) { /* a dozen roundings at most */
        cr_expect(fabs(cpu.losses[i] - ref.losses[i]) <= 12 * FLT_EPSILON * fabs(ref.losses[i]));
        cr_expect(fabs(cpu.dscore[2 * i] - ref.dscore[2 * i]) <=
                  12 * FLT_EPSILON * fabs(ref.dscore[2 * i]));
    }
    for (int k = 0; k < 2; k++) {
        run(plumb_test_device(), k ? 10 : 0, 1e-3, &huge);
        for (int i = 0; i < 4; i++)
            cr_expect(isfinite(huge.losses[i]) && isfinite(huge.dscore[2 * i]) &&
                          isfinite(huge.dscore[2 * i + 1]),
                      "%g %g %g", huge.losses[i], huge.dscore[2 * i], huge.dscore[2 * i + 1]);
    }
}

Test(reward, nan_stays_in_its_pair)
{
    struct batch b = { 0 };
    for (int i = 0; i < 3; i++)
        append(&b, i == 1 ? NAN : 1, 0, 0);
    run(plumb_test_device(), 0.01, 1, &b);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(!!isnan(b.losses[i]), i == 1);
    cr_expect(b.losses[0] == b.losses[2] && b.dscore[0] == b.dscore[4]);
}

/* A formula that a limit turns into Bradley-Terry has its loss and gradients there. */
Test(reward, limits_of_the_variants_are_bradley_terry)
{
    const int same[] = { PLUMB_REWARD_BRADLEY_TERRY_FLOOR, PLUMB_REWARD_BRADLEY_TERRY_LAPSE,
                         PLUMB_REWARD_BRADLEY_TERRY_SOFT, PLUMB_REWARD_CPL };
    struct batch base = { 0 }, b;
    struct plumb_reward a = defaults;
    for (int i = 0; i < 9; i++)
        append(&base, 0.75 * i - 3, 2.5 - 0.5 * i, 0.25);
    b = base;
    run_call(&plumb_ref, &a, &base);
    for (int k = 0; k < 4; k++) {
        a.loss = (enum plumb_reward_loss)same[k];
        for (int64_t i = 0; i < b.B; i++)
            b.target[i] = 1;
        run_call(&plumb_ref, &a, &b);
        for (int64_t i = 0; i < b.B; i++) {
            cr_expect_float_eq(b.losses[i], base.losses[i], 1e-13);
            cr_expect_float_eq(b.dscore[2 * i], base.dscore[2 * i], 1e-13);
        }
    }
}

/* With both anchors half-way all four gaps are half of chosen - rejected. */
Test(reward, the_gap_model_is_four_bradley_terry_terms)
{
    struct batch base = { 0 }, b = { 0 };
    struct plumb_reward a = defaults;
    for (int i = 0; i < 9; i++) {
        const double chosen = 0.75 * i - 3, rejected = 2.5 - 0.5 * i;
        append(&base, chosen, rejected, 0.25);
        append(&b, 2 * chosen, 2 * rejected, 0.25);
        b.anchor[2 * i] = b.anchor[2 * i + 1] = chosen + rejected;
    }
    run_call(&plumb_ref, &a, &base);
    a.loss = PLUMB_REWARD_GAP;
    run_call(&plumb_ref, &a, &b);
    for (int64_t i = 0; i < b.B; i++) {
        cr_expect_float_eq(b.losses[i], 4 * base.losses[i], 1e-13);
        cr_expect_float_eq(b.dscore[2 * i], 2 * base.dscore[2 * i], 1e-13);
        cr_expect_float_eq(b.dscore[2 * i + 1], 2 * base.dscore[2 * i + 1], 1e-13);
        cr_expect_float_eq(b.danchor[2 * i], 0, 1e-13);
    }
}

/* What may happen to a pair has probability 1 in all: exp(-loss) over the outcomes. */
Test(reward, probabilities_of_wins_and_ties_add_up_to_one)
{
    const int with_ties[] = { PLUMB_REWARD_DAVIDSON, PLUMB_REWARD_RAO_KUPPER };
    for (int k = 0; k < 2; k++) {
        struct batch b = { 0 };
        struct plumb_reward a = defaults;
        a.loss = (enum plumb_reward_loss)with_ties[k];
        for (int i = 0; i < 60; i++) /* a row of three has one of each outcome */
            append(&b, 0.375 * (i / 3), 3.0, 0.125);
        run_call(&plumb_ref, &a, &b);
        for (int i = 0; i < 60; i += 3) {
            const double sum = exp(-b.losses[i]) + exp(-b.losses[i + 1]) + exp(-b.losses[i + 2]);
            cr_expect_float_eq(sum, 1, 1e-13);
        }
    }
}

/* By hand: -log(0.9 / 2 + 0.05) = log 2 at equal scores, whatever the share of random answers. */
Test(reward, floor_and_lapse_bound_the_pull_of_a_wrong_pair)
{
    struct batch b = { 0 };
    struct plumb_reward a = defaults;
    append(&b, 0, 0, 0);
    append(&b, -500, 500, 0);
    a.loss = PLUMB_REWARD_BRADLEY_TERRY_LAPSE, a.lapse = 0.1;
    run_call(plumb_test_device(), &a, &b);
    cr_expect_float_eq(b.losses[0], log(2), 1e-7);
    cr_expect_float_eq(b.losses[1], -log(0.05), 1e-6);
    cr_expect_eq(b.dscore[2], 0);
    a.loss = PLUMB_REWARD_BRADLEY_TERRY_FLOOR, a.floor = 1e-5;
    run_call(plumb_test_device(), &a, &b);
    cr_expect_float_eq(b.losses[0], -log(0.5 + 1e-5), 1e-7);
    cr_expect_float_eq(b.losses[1], -log(1e-5), 1e-5);
    cr_expect_eq(b.dscore[2], 0);
}

Test(reward, every_formula_keeps_its_digits_at_the_extremes)
{
    const double far[] = { 0, 200, -200, 1e4, 3e38 };
    for (int id = 0; plumb_reward_name(id); id++) {
        struct batch dev = { 0 }, ref;
        struct plumb_reward a = defaults;
        a.loss = (enum plumb_reward_loss)id;
        a.floor = a.lapse = 0.0625;
        for (int i = 0; i < 48; i++)
            append(&dev, far[i / 3 % 4], far[i / 12], 0);
        for (int i = 0; i < 3; i++)
            append(&dev, far[4], -far[4], 0);
        ref = dev;
        run_call(plumb_test_device(), &a, &dev);
        run_call(&plumb_ref, &a, &ref);
        for (int i = 0; i < dev.B; i++) {
            const double sizes[] = { ref.losses[i], ref.dscore[2 * i], ref.dscore[2 * i + 1] };
            const double got[] = { dev.losses[i], dev.dscore[2 * i], dev.dscore[2 * i + 1] };
            for (int k = 0; k < 3; k++)
                cr_expect(isfinite(got[k]) && (fabs(sizes[k]) > (double)FLT_MAX ||
                                               fabs(got[k] - sizes[k]) <=
                                                   16 * FLT_EPSILON * fmax(1, fabs(sizes[k]))),
                          "%s, pair %d, value %d: %g, expected %g", plumb_reward_name(id), i, k,
                          got[k], sizes[k]);
        }
    }
}

Test(reward, a_weight_scales_a_pair_and_none_leaves_it_out)
{
    struct batch one = { 0 }, b;
    for (int i = 0; i < 3; i++)
        append(&one, 1, 0.5, 0);
    b = one;
    b.weight[0] = 2, b.weight[1] = 0, b.score[2] = NAN;
    run(plumb_test_device(), 0.125, 4, &one);
    run(plumb_test_device(), 0.125, 4, &b);
    cr_expect(b.losses[0] == 2 * one.losses[0] && b.dscore[0] == 2 * one.dscore[0]);
    cr_expect(b.losses[1] == 0 && b.dscore[2] == 0 && b.dscore[3] == 0);
}

Test(reward, an_outcome_that_is_none_is_nan)
{
    struct batch b = { 0 };
    struct plumb_reward a = defaults;
    append(&b, 1, 0, 0);
    b.target[0] = 0.5;
    a.loss = PLUMB_REWARD_DAVIDSON;
    run_call(plumb_test_device(), &a, &b);
    cr_expect(isnan(b.losses[0]) && isnan(b.dscore[0]));
    a.loss = PLUMB_REWARD_RAO_KUPPER;
    run_call(plumb_test_device(), &a, &b);
    cr_expect(isnan(b.losses[0]) && isnan(b.dscore[0]));
}

Test(reward, names_the_argument_that_is_wrong)
{
    enum { CASES = 13 };
    float v[2] = { 1, 0 }, o[1];
    const struct plumb_reward good = { .struct_bytes = sizeof good,
                                       .B = 1,
                                       .score = { v, PLUMB_F32 },
                                       .losses = { o, PLUMB_F32 },
                                       .divisor = 1 };
    struct plumb_reward bad[CASES];
    static const char *const word[CASES] = { "loss=99",
                                             "B=-3",
                                             "score is missing",
                                             "divisor=0",
                                             "center_coefficient=-1",
                                             "margin cannot",
                                             "target is missing",
                                             "sign is missing",
                                             "anchor is missing",
                                             "ties=1,",
                                             "ties=0,",
                                             "lapse=1",
                                             "floor=-1" };
    cr_assert_eq(plumb_reward(&plumb_cpu, &good), PLUMB_OK, "%s", plumb_errmsg());
    for (int i = 0; i < CASES; i++)
        bad[i] = good;
    bad[0].loss = (enum plumb_reward_loss)99;
    bad[1].B = -3;
    bad[2].score.data = NULL;
    bad[3].divisor = 0;
    bad[4].center_coefficient = -1;
    bad[5].margin = (struct plumb_tensor){ v, PLUMB_F64 };
    bad[6].loss = PLUMB_REWARD_BRADLEY_TERRY_SOFT;
    bad[7].loss = PLUMB_REWARD_COST_MODEL;
    bad[8].loss = PLUMB_REWARD_GAP;
    bad[9].loss = PLUMB_REWARD_RAO_KUPPER, bad[9].target = good.score, bad[9].ties = 1;
    bad[10].loss = PLUMB_REWARD_DAVIDSON, bad[10].target = good.score;
    bad[11].lapse = 1;
    bad[12].floor = -1;
    for (int i = 0; i < CASES; i++) {
        cr_expect_eq(plumb_reward(&plumb_cpu, &bad[i]), PLUMB_EINVAL, "case %d", i);
        cr_expect(strstr(plumb_errmsg(), word[i]), "case %d, message was: %s", i, plumb_errmsg());
    }
    cr_expect_eq(plumb_reward_find("bradley_terry"), PLUMB_REWARD_BRADLEY_TERRY);
    cr_expect_eq(plumb_reward_find(""), -1);
    cr_expect_str_eq(plumb_reward_name(0), "bradley_terry");
}
