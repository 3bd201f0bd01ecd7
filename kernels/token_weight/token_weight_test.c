/* Weights of tokens and of pairs, against what their definitions say. */
#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <plumb/device.h>
#include <plumb/token_weight.h>
#include <string.h>

#include "tests/tensor.h"

enum { TOKENS = 40 };
/* Two pairs: 12 and 7 tokens; 9 and 12. */
static const int32_t offset[5] = { 0, 12, 19, 28, TOKENS };

static void weigh(struct plumb_token_weight a, double *out)
{
    const struct plumb_device *dev = plumb_test_device();
    const enum plumb_dtype t = dev->kind == PLUMB_DEV_REF ? PLUMB_F64 : PLUMB_F32;
    a.struct_bytes = sizeof a;
    a.B = 2;
    a.offset = plumb_test_copy(dev, offset, sizeof offset);
    if (a.turn) a.turn = plumb_test_copy(dev, a.turn, TOKENS * sizeof *a.turn);
    a.weight = plumb_test_tensor(t, TOKENS, NULL);
    plumb_test_to(dev, &a.weight, TOKENS);
    cr_assert_eq(plumb_token_weight(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
    plumb_test_from(dev, &a.weight, TOKENS);
    for (int i = 0; i < TOKENS; i++)
        out[i] = plumb_test_get(&a.weight, i);
    plumb_test_free(&a.weight);
}

Test(token_weight, tokens_beyond_the_shorter_side_count_ld_alpha)
{
    double w[TOKENS];
    weigh((struct plumb_token_weight){ .kind = PLUMB_WEIGHT_TAIL, .ld_alpha = 0.25 }, w);
    for (int i = 0; i < TOKENS; i++) {
        const bool tail = (i >= 7 && i < 12) || i >= 28 + 9;
        cr_expect_eq(w[i], tail ? 0.25 : 1, "%d: %g", i, w[i]);
    }
}

Test(token_weight, turns_fall_from_one_to_nothing_left)
{
    double w[TOKENS];
    int32_t turn[TOKENS];
    for (int s = 0; s < 4; s++) /* turns of three tokens; the last may be shorter */
        for (int32_t t = offset[s]; t < offset[s + 1]; t++)
            turn[t] = (t - offset[s]) / 3;
    weigh((struct plumb_token_weight){ .kind = PLUMB_WEIGHT_TURNS, .gamma = 0.5, .turn = turn }, w);
    const double of_four[4] = { 1, 0.5 * (1 - 0.125) / (1 - 0.0625),
                                0.25 * (1 - 0.25) / (1 - 0.0625),
                                0.125 * (1 - 0.5) / (1 - 0.0625) };
    for (int i = 0; i < 12; i++)
        cr_expect_float_eq(w[i], of_four[i / 3], 1e-7);
    weigh((struct plumb_token_weight){ .kind = PLUMB_WEIGHT_TURNS, .gamma = 1, .turn = turn }, w);
    for (int i = 0; i < 12; i++)
        cr_expect_float_eq(w[i], 1 - (i / 3) / 4.0, 1e-7);
}

Test(token_weight, a_subset_is_as_large_as_the_shorter_side_and_falls_on_all_tokens)
{
    double w[TOKENS], again[TOKENS], share[12] = { 0 };
    int changed = 0;
    for (uint64_t step = 0; step < 400; step++) {
        struct plumb_token_weight a = { .kind = PLUMB_WEIGHT_SUBSET, .seed = 7, .step = step };
        double count[4] = { 0 };
        weigh(a, w);
        weigh(a, again);
        cr_assert_arr_eq(w, again, sizeof w);
        for (int s = 0; s < 4; s++)
            for (int32_t t = offset[s]; t < offset[s + 1]; t++) {
                cr_assert(w[t] == 0 || w[t] == 1);
                count[s] += w[t];
            }
        cr_assert(count[0] == 7 && count[1] == 7 && count[2] == 9 && count[3] == 9);
        for (int i = 0; i < 12; i++)
            share[i] += w[i] / 400;
        a.step++;
        weigh(a, again);
        changed += memcmp(w, again, sizeof w) != 0;
    }
    cr_expect(changed > 390, "%d", changed);
    for (int i = 0; i < 12; i++) /* 7/12, deviation 0.025 */
        cr_expect_float_eq(share[i], 7.0 / 12, 0.1, "%d: %g", i, share[i]);
}

static double wpo_of(const double *logp, const double *sq)
{
    const struct plumb_device *dev = plumb_test_device();
    const enum plumb_dtype t = dev->kind == PLUMB_DEV_REF ? PLUMB_F64 : PLUMB_F32;
    struct plumb_wpo a = { .struct_bytes = sizeof a,
                           .B = 2,
                           .offset = plumb_test_copy(dev, offset, sizeof offset),
                           .logp = plumb_test_tensor(t, TOKENS, logp),
                           .log_sum_sq = plumb_test_tensor(t, TOKENS, sq),
                           .weight = plumb_test_tensor(t, 2, NULL) };
    plumb_test_to(dev, &a.logp, TOKENS);
    plumb_test_to(dev, &a.log_sum_sq, TOKENS);
    plumb_test_to(dev, &a.weight, 2);
    cr_assert_eq(plumb_wpo(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
    plumb_test_from(dev, &a.logp, TOKENS);
    plumb_test_from(dev, &a.log_sum_sq, TOKENS);
    plumb_test_from(dev, &a.weight, 2);
    const double weight = plumb_test_get(&a.weight, 0);
    plumb_test_free(&a.logp);
    plumb_test_free(&a.log_sum_sq);
    plumb_test_free(&a.weight);
    return weight;
}

Test(token_weight, what_the_policy_would_sample_weighs_one)
{
    double logp[TOKENS], sq[TOKENS];
    for (int i = 0; i < TOKENS; i++)
        logp[i] = sq[i] = -0.25 * (i % 9);
    cr_expect_eq(wpo_of(logp, sq), 1);
    for (int i = 0; i < 12; i++)
        logp[i] -= 0.5; /* the chosen side of pair 0 */
    cr_expect_float_eq(wpo_of(logp, sq), exp(-0.5), 1e-7);
}

Test(token_weight, weights_of_extremes_are_numbers_and_no_number_is_not_hidden)
{
    double logp[TOKENS] = { 0 }, sq[TOKENS] = { 0 };
    sq[0] = -3e38;
    cr_expect_float_eq(wpo_of(logp, sq), FLT_MAX, 1e32);
    sq[0] = 3e38;
    cr_expect_eq(wpo_of(logp, sq), 0);
    sq[0] = NAN;
    cr_expect(isnan(wpo_of(logp, sq)));
}

Test(token_weight, names_the_argument_that_is_wrong)
{
    float v[TOKENS];
    const int32_t falling[TOKENS] = { 0, 2, 1 };
    const struct plumb_tensor t = { v, PLUMB_F32 };
    const struct plumb_token_weight good = { .struct_bytes = sizeof good,
                                             .B = 2,
                                             .offset = offset,
                                             .weight = t };
    struct plumb_token_weight bad[5];
    static const char *const word[5] = { "kind=3", "ld_alpha=nan", "gamma=0", "turn is missing",
                                         "turn[2]=1" };
    for (int i = 0; i < 5; i++)
        bad[i] = good;
    bad[0].kind = PLUMB_WEIGHT_KINDS;
    bad[1].ld_alpha = NAN;
    bad[2].kind = bad[3].kind = bad[4].kind = PLUMB_WEIGHT_TURNS;
    bad[3].gamma = bad[4].gamma = 0.7;
    bad[4].turn = falling;
    cr_assert_eq(plumb_token_weight(&plumb_cpu, &good), PLUMB_OK);
    for (int i = 0; i < 5; i++) {
        cr_expect_eq(plumb_token_weight(&plumb_cpu, &bad[i]), PLUMB_EINVAL);
        cr_expect(strstr(plumb_errmsg(), word[i]), "message was: %s", plumb_errmsg());
    }
    const struct plumb_wpo no_sq = { .struct_bytes = sizeof no_sq,
                                     .B = 2,
                                     .offset = offset,
                                     .logp = t,
                                     .weight = t };
    cr_expect_eq(plumb_wpo(&plumb_cpu, &no_sq), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), "log_sum_sq is missing"));
}
