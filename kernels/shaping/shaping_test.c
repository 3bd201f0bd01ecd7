#include <plumb/shaping.h>

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "tests/tensor.h"

static void mixed(enum plumb_mix mix, bool population, double caution, int K, const double *weight,
                  const double *x, double *y)
{
    const struct plumb_device *dev = plumb_test_device();
    struct plumb_reward_mix a = { .struct_bytes = sizeof a,
                                  .mix = mix,
                                  .N = 3,
                                  .K = K,
                                  .weight = weight,
                                  .caution = caution,
                                  .population = population,
                                  .x = plumb_test_tensor(PLUMB_F32, 3 * K, x),
                                  .y = plumb_test_tensor(PLUMB_F32, 3, NULL) };
    plumb_test_to(dev, &a.x, 3 * K), plumb_test_to(dev, &a.y, 3);
    cr_assert_eq(plumb_reward_mix(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
    plumb_test_from(dev, &a.x, 3 * K), plumb_test_from(dev, &a.y, 3);
    for (int n = 0; n < 3; n++)
        y[n] = plumb_test_get(&a.y, n);
    plumb_test_free(&a.x), plumb_test_free(&a.y);
}

Test(shaping, mixtures_that_a_hand_can_compute)
{
    const double x[9] = { 1, 2, NAN, 3, NAN, NAN, 8, 4, NAN }, weight[3] = { 1, 0.5, -2 };
    double y[3];
    mixed(PLUMB_MIX_SUM, false, 0, 3, weight, x, y);
    cr_expect(y[0] == -13.5 && y[1] == -6 && y[2] == 0); /* one without a say adds nothing */
    mixed(PLUMB_MIX_MEAN, false, 0, 3, NULL, x, y);
    cr_expect(y[0] == 4 && y[1] == 3 && isnan(y[2]));
    mixed(PLUMB_MIX_LEAST, false, 0, 3, NULL, x, y);
    cr_expect(y[0] == 1 && y[1] == 2 && isnan(y[2]));
    mixed(PLUMB_MIX_CAUTIOUS, false, 0.5, 3, NULL, x, y); /* variances 13 and 2 */
    cr_expect(y[0] == -2.5 && y[1] == 2);
    mixed(PLUMB_MIX_CAUTIOUS, true, 1.5, 3, NULL, x, y); /* 26 / 3 and 1 */
    cr_expect(y[0] == -9 && y[1] == 1.5);
}

/* L = 10, c = 4: full marks up to 6 tokens, -1/4 a token from there, -1 beyond 10. */
Test(shaping, length_and_end_cost_what_the_papers_say)
{
    const struct plumb_device *dev = plumb_test_device();
    const int32_t offset[6] = { 0, 6, 14, 24, 35, 35 }, finished[5] = { 1, 1, 1, 0, 0 };
    const double score[5] = { 1, 1, 1, 1, 1 }, want[5] = { 1, 0.5, 0, -3, -2 };
    struct plumb_reward_shape a = { .struct_bytes = sizeof a,
                                    .R = 5,
                                    .offset = plumb_test_copy(dev, offset, sizeof offset),
                                    .score = plumb_test_tensor(PLUMB_F32, 5, score),
                                    .finished = plumb_test_copy(dev, finished, sizeof finished),
                                    .missing_eos_penalty = 3,
                                    .max_length = 10,
                                    .overlong_cache = 4,
                                    .reward = plumb_test_tensor(PLUMB_F32, 35, NULL),
                                    .shaped = plumb_test_tensor(PLUMB_F32, 5, NULL) };
    struct plumb_tensor *all[] = { &a.score, &a.reward, &a.shaped };
    const int64_t count[] = { 5, 35, 5 };
    for (int i = 0; i < 3; i++)
        plumb_test_to(dev, all[i], count[i]);
    cr_assert_eq(plumb_reward_shape(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
    for (int i = 0; i < 3; i++)
        plumb_test_from(dev, all[i], count[i]);
    for (int r = 0; r < 5; r++) {
        cr_expect_eq(plumb_test_get(&a.shaped, r), want[r], "%d", r);
        for (int32_t t = offset[r]; t < offset[r + 1]; t++)
            cr_expect_eq(plumb_test_get(&a.reward, t), t == offset[r + 1] - 1 ? want[r] : 0);
    }
    for (int i = 0; i < 3; i++)
        plumb_test_free(all[i]);
}

/* The rewards of a sequence's tokens add up to its shaped reward. */
Test(shaping, tokens_share_out_the_whole)
{
    double score[2] = { 2, -1 }, kl[700], reward[700], whole[2];
    const int32_t offset[3] = { 0, 300, 700 };
    for (int t = 0; t < 700; t++)
        kl[t] = 0.125 * ((t * 13) % 29) - 1;
    const struct plumb_reward_shape a = { .struct_bytes = sizeof a,
                                          .R = 2,
                                          .offset = offset,
                                          .score = { score, PLUMB_F64 },
                                          .kl = { kl, PLUMB_F64 },
                                          .kl_coef = 0.05,
                                          .reward = { reward, PLUMB_F64 },
                                          .shaped = { whole, PLUMB_F64 } };
    cr_assert_eq(plumb_reward_shape(&plumb_ref, &a), PLUMB_OK, "%s", plumb_errmsg());
    for (int r = 0; r < 2; r++) {
        double sum = 0;
        for (int32_t t = offset[r]; t < offset[r + 1]; t++)
            sum += reward[t];
        cr_expect_float_eq(sum, whole[r], 1e-11);
    }
}

Test(shaping, names_the_argument_that_is_wrong)
{
    float v[2] = { 1, 0 }, o[2];
    const double weight[2] = { 1, INFINITY };
    const struct plumb_reward_mix mix = { .struct_bytes = sizeof mix,
                                          .N = 1,
                                          .K = 2,
                                          .x = { v, PLUMB_F32 },
                                          .y = { o, PLUMB_F32 } };
    struct plumb_reward_mix bad[4] = { mix, mix, mix, mix };
    static const char *const word[4] = { "mix=7", "K=33", "weight[1]=inf", "x is missing" };
    cr_assert_eq(plumb_reward_mix(&plumb_cpu, &mix), PLUMB_OK, "%s", plumb_errmsg());
    bad[0].mix = (enum plumb_mix)7;
    bad[1].K = 33;
    bad[2].weight = weight;
    bad[3].x.data = NULL;
    for (int i = 0; i < 4; i++) {
        cr_expect_eq(plumb_reward_mix(&plumb_cpu, &bad[i]), PLUMB_EINVAL, "case %d", i);
        cr_expect(strstr(plumb_errmsg(), word[i]), "case %d, message was: %s", i, plumb_errmsg());
    }
    const int32_t offset[2] = { 0, 1 };
    const struct plumb_reward_shape shape = { .struct_bytes = sizeof shape,
                                              .R = 1,
                                              .offset = offset,
                                              .score = { v, PLUMB_F32 } };
    struct plumb_reward_shape wrong[3] = { shape, shape, shape };
    static const char *const named[3] = { "kl_coef=nan", "missing_eos_penalty=-1",
                                          "overlong_cache=5" };
    cr_assert_eq(plumb_reward_shape(&plumb_cpu, &shape), PLUMB_OK, "%s", plumb_errmsg());
    wrong[0].kl_coef = NAN;
    wrong[1].missing_eos_penalty = -1;
    wrong[2].max_length = 4, wrong[2].overlong_cache = 5;
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(plumb_reward_shape(&plumb_cpu, &wrong[i]), PLUMB_EINVAL, "case %d", i);
        cr_expect(strstr(plumb_errmsg(), named[i]), "case %d, message was: %s", i, plumb_errmsg());
    }
}
