#include <plumb/reward.h>

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "tests/golden.h"
#include "tests/tensor.h"

enum { MAX = 64 };

struct batch {
    int64_t B;
    double score[2 * MAX], margin[MAX], losses[MAX], dscore[2 * MAX];
};

static void append(struct batch *b, double chosen, double rejected, double margin)
{
    const int64_t i = b->B++;
    cr_assert_lt(i, MAX);
    b->score[2 * i] = chosen, b->score[2 * i + 1] = rejected, b->margin[i] = margin;
}

static void run(const struct plumb_device *dev, double center, double divisor, struct batch *b)
{
    const enum plumb_dtype t = dev->kind == PLUMB_DEV_REF ? PLUMB_F64 : PLUMB_F32;
    struct plumb_reward a = { .struct_bytes = sizeof a,
                              .loss = PLUMB_REWARD_BRADLEY_TERRY,
                              .B = b->B,
                              .score = plumb_test_tensor(t, 2 * b->B, b->score),
                              .margin = plumb_test_tensor(t, b->B, b->margin),
                              .center_coefficient = center,
                              .divisor = divisor,
                              .losses = plumb_test_tensor(t, b->B, NULL),
                              .dscore = plumb_test_tensor(t, 2 * b->B, NULL) };
    struct plumb_tensor *all[] = { &a.score, &a.margin, &a.losses, &a.dscore };
    const int64_t count[] = { 2 * b->B, b->B, b->B, 2 * b->B };
    for (int i = 0; i < 4; i++)
        plumb_test_to(dev, all[i], count[i]);
    cr_assert_eq(plumb_reward(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
    for (int i = 0; i < 4; i++)
        plumb_test_from(dev, all[i], count[i]);
    for (int64_t i = 0; i < b->B; i++)
        b->losses[i] = plumb_test_get(&a.losses, i);
    for (int64_t i = 0; i < 2 * b->B; i++)
        b->dscore[i] = plumb_test_get(&a.dscore, i);
    for (int i = 0; i < 4; i++)
        plumb_test_free(all[i]);
}

/* The goldens' `losses` leave the centring term out, their `loss` and gradients hold it. */
static void check_case(struct plumb_golden *g, const cJSON *c, const struct plumb_device *dev,
                       bool margins)
{
    const enum plumb_dtype t = dev->kind == PLUMB_DEV_REF ? PLUMB_F64 : PLUMB_F32;
    const double center = plumb_golden_option(c, "center_rewards_coefficient", 0);
    int64_t n, n_margin;
    const double *chosen = plumb_golden_input(g, c, "chosen_rewards", &n);
    const double *rejected = plumb_golden_input(g, c, "rejected_rewards", &n);
    const double *margin = plumb_golden_input(g, c, "margins", &n_margin);
    struct batch plain = { 0 }, b;
    for (int64_t i = 0; i < n; i++)
        append(&plain, chosen[i], rejected[i], margin && margins ? margin[i] : 0);
    b = plain;
    run(dev, 0, (double)n, &plain);
    run(dev, center, (double)n, &b);
    const double *losses = plumb_golden_expected(g, c, NULL, "losses", &n);
    const double *loss = plumb_golden_expected(g, c, NULL, "loss", &n);
    const double *dc = plumb_golden_expected(g, c, "grads", "chosen_rewards", &n);
    const double *dr = plumb_golden_expected(g, c, "grads", "rejected_rewards", &n);
    cr_assert(losses && loss && dc && dr && n == b.B);
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += b.losses[i];
        plumb_golden_check(g, c, "losses", i, t, plain.losses[i], losses[i]);
        plumb_golden_check(g, c, "chosen gradient", i, t, b.dscore[2 * i], dc[i]);
        plumb_golden_check(g, c, "rejected gradient", i, t, b.dscore[2 * i + 1], dr[i]);
    }
    plumb_golden_check(g, c, "loss", 0, t, sum / (double)n, *loss);
}

static void check_member(const char *member, bool margins)
{
    struct plumb_golden g;
    if (!plumb_golden_open(&g, member)) return;
    for (; g.run < g.count; g.run++) {
        check_case(&g, plumb_golden_case(&g, g.run), &plumb_ref, margins);
        check_case(&g, plumb_golden_case(&g, g.run), plumb_test_device(), margins);
    }
    plumb_golden_close(&g);
}

Test(reward, agrees_with_published_implementations)
{
    check_member("reward/bradley_terry", true);
    check_member("reward/bradley_terry_margin", true);
    check_member("reward/bradley_terry_centered", true);
    check_member("reward/log_exp", false); /* the same formula by another project, without margin */
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
    const double plain = b.losses[0];
    run(&plumb_ref, 0.01, 1, &b);
    cr_expect_float_eq(b.losses[0] - plain, 0.01 * 17.25 * 17.25, 1e-14);
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

Test(reward, names_the_argument_that_is_wrong)
{
    enum { CASES = 6 };
    float v[2] = { 1, 0 }, o[1];
    const struct plumb_reward good = { .struct_bytes = sizeof good,
                                       .B = 1,
                                       .score = { v, PLUMB_F32 },
                                       .losses = { o, PLUMB_F32 },
                                       .divisor = 1 };
    struct plumb_reward bad[CASES];
    static const char *const word[CASES] = {
        "loss=5", "B=-3", "score is missing", "divisor=0", "center_coefficient=-1", "margin cannot"
    };
    cr_assert_eq(plumb_reward(&plumb_cpu, &good), PLUMB_OK, "%s", plumb_errmsg());
    for (int i = 0; i < CASES; i++)
        bad[i] = good;
    bad[0].loss = (enum plumb_reward_loss)5;
    bad[1].B = -3;
    bad[2].score.data = NULL;
    bad[3].divisor = 0;
    bad[4].center_coefficient = -1;
    bad[5].margin = (struct plumb_tensor){ v, PLUMB_F64 };
    for (int i = 0; i < CASES; i++) {
        cr_expect_eq(plumb_reward(&plumb_cpu, &bad[i]), PLUMB_EINVAL, "case %d", i);
        cr_expect(strstr(plumb_errmsg(), word[i]), "case %d, message was: %s", i, plumb_errmsg());
    }
    cr_expect_eq(plumb_reward_find("bradley_terry"), PLUMB_REWARD_BRADLEY_TERRY);
    cr_expect_eq(plumb_reward_find(""), -1);
    cr_expect_str_eq(plumb_reward_name(0), "bradley_terry");
}
