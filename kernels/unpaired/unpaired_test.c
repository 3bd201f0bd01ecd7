#include <plumb/device.h>
#include <plumb/unpaired.h>

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "tests/tensor.h"

enum { MAX = 64, TOKENS = 3 }; /* completions; tokens of each, the first carries the sum */

struct batch {
    int64_t B;
    int32_t offset[MAX + 1], label[MAX];
    double logp[TOKENS * MAX], ref[TOKENS * MAX];
    double target[MAX], value[MAX], weight[MAX];
    double losses[MAX], logps[MAX], rewards[MAX], dlogp[TOKENS * MAX], dvalue[MAX];
};

static void append(struct batch *b, double policy, double reference, int label)
{
    const int64_t r = b->B++;
    cr_assert_lt(r, MAX);
    b->offset[r + 1] = b->offset[r] + TOKENS;
    b->logp[TOKENS * r] = policy, b->ref[TOKENS * r] = reference, b->label[r] = label;
    b->weight[r] = 1;
}

static enum plumb_dtype dtype_of(const struct plumb_device *dev)
{
    return dev->kind == PLUMB_DEV_REF ? PLUMB_F64 : PLUMB_F32;
}

static struct plumb_unpaired with(double beta, double desirable, double undesirable, double divisor)
{
    return (struct plumb_unpaired){ .struct_bytes = sizeof(struct plumb_unpaired),
                                    .loss = PLUMB_UNPAIRED_KTO,
                                    .beta = beta,
                                    .desirable_weight = desirable,
                                    .undesirable_weight = undesirable,
                                    .clamp_negative = 1,
                                    .divisor = divisor };
}

static void run(const struct plumb_device *dev, struct plumb_unpaired a, double kl, struct batch *b)
{
    const enum plumb_dtype t = dtype_of(dev);
    const int64_t M = b->offset[b->B];
    a.B = b->B;
    a.offset = plumb_test_copy(dev, b->offset, sizeof b->offset);
    a.label = plumb_test_copy(dev, b->label, sizeof b->label);
    a.logp = plumb_test_tensor(t, M, b->logp);
    a.ref_logp = plumb_test_tensor(t, M, b->ref);
    a.kl = plumb_test_tensor(t, 1, &kl);
    a.shift = plumb_test_tensor(t, 1, &kl);
    a.target = plumb_test_tensor(t, a.B, b->target);
    a.value = plumb_test_tensor(t, a.B, b->value);
    a.weight = plumb_test_tensor(t, a.B, b->weight);
    a.losses = plumb_test_tensor(t, a.B, NULL);
    a.logps = plumb_test_tensor(t, a.B, NULL);
    a.rewards = plumb_test_tensor(t, a.B, NULL);
    a.dlogp = plumb_test_tensor(t, M, NULL);
    a.dvalue = plumb_test_tensor(t, a.B, NULL);
    struct plumb_tensor *all[] = { &a.logp,    &a.ref_logp, &a.kl,     &a.shift,
                                   &a.target,  &a.value,    &a.losses, &a.logps,
                                   &a.rewards, &a.dlogp,    &a.dvalue, &a.weight };
    const int64_t count[] = { M, M, 1, 1, a.B, a.B, a.B, a.B, a.B, M, a.B, a.B };
    for (int i = 0; i < 12; i++)
        plumb_test_to(dev, all[i], count[i]);
    cr_assert_eq(plumb_unpaired(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
    for (int i = 0; i < 12; i++)
        plumb_test_from(dev, all[i], count[i]);
    for (int64_t i = 0; i < a.B; i++) {
        b->losses[i] = plumb_test_get(&a.losses, i);
        b->logps[i] = plumb_test_get(&a.logps, i);
        b->rewards[i] = plumb_test_get(&a.rewards, i);
        b->dvalue[i] = plumb_test_get(&a.dvalue, i);
    }
    for (int64_t i = 0; i < M; i++)
        b->dlogp[i] = plumb_test_get(&a.dlogp, i);
    for (int i = 0; i < 12; i++)
        plumb_test_free(all[i]);
}

static double reference_point(const struct plumb_device *dev, const double *logp, const double *ref,
                              int64_t count)
{
    int32_t offset[MAX + 1];
    for (int64_t i = 0; i <= count; i++)
        offset[i] = (int32_t)i;
    struct plumb_kto_kl a = { .struct_bytes = sizeof a, .B = count };
    a.offset = plumb_test_copy(dev, offset, (size_t)(count + 1) * sizeof *offset);
    a.logp = plumb_test_tensor(dtype_of(dev), count, logp);
    a.ref_logp = plumb_test_tensor(dtype_of(dev), count, ref);
    a.kl = plumb_test_tensor(dtype_of(dev), 1, NULL);
    plumb_test_to(dev, &a.logp, count);
    plumb_test_to(dev, &a.ref_logp, count);
    plumb_test_to(dev, &a.kl, 1);
    cr_assert_eq(plumb_kto_kl(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
    plumb_test_from(dev, &a.logp, count);
    plumb_test_from(dev, &a.ref_logp, count);
    plumb_test_from(dev, &a.kl, 1);
    const double kl = plumb_test_get(&a.kl, 0);
    plumb_test_free(&a.logp);
    plumb_test_free(&a.ref_logp);
    plumb_test_free(&a.kl);
    return kl;
}

/* ---- identities and extremes ---- */

Test(unpaired, at_the_reference_point_a_completion_loses_half_its_weight)
{
    struct batch b = { 0 };
    append(&b, -7, -9, 1);
    append(&b, -7, -9, 0);
    run(plumb_test_device(), with(0.5, 3, 5, 2), 2, &b);
    cr_expect(b.losses[0] == 1.5 && b.losses[1] == 2.5);
    cr_expect(b.dlogp[0] == -0.5 * 3 / 4 / 2 && b.dlogp[TOKENS] == 0.5 * 5 / 4 / 2);
}

/* 1 - s(x) = s(-x): the two labels' unweighted losses at one log-ratio add to 1. */
Test(unpaired, the_two_labels_share_one)
{
    struct batch b = { 0 };
    for (int i = -6; i <= 6; i++) {
        append(&b, i, 0, 1);
        append(&b, i, 0, 0);
    }
    run(&plumb_ref, with(1.5, 1, 1, 1), 0.25, &b);
    for (int64_t i = 0; i < b.B; i += 2)
        cr_expect_float_eq(b.losses[i] + b.losses[i + 1], 1, 1e-15);
}

static struct plumb_unpaired loss_of(enum plumb_unpaired_loss loss)
{
    struct plumb_unpaired a = with(0.5, 1, 1, 1);
    a.loss = loss;
    return a;
}

/* At the border both labels lose ln 2; a weight is the row's, not its class's. */
Test(unpaired, bco_judges_by_the_distance_to_the_shift)
{
    struct batch b = { 0 };
    append(&b, 3, 0, 1);
    append(&b, 3, 0, 0);
    append(&b, 5, 0, 0);
    b.weight[1] = 2;
    run(plumb_test_device(), loss_of(PLUMB_UNPAIRED_BCO), 1.5, &b);
    cr_expect_float_eq(b.losses[0], log(2), 1e-6);
    cr_expect_float_eq(b.losses[1], 2 * log(2), 1e-6);
    cr_expect(b.dlogp[0] == -0.25 && b.dlogp[TOKENS] == 0.5);
    cr_expect_float_eq(b.losses[2], log1p(exp(1)), 1e-6);
}

Test(unpaired, residual_pulls_policy_and_value_together)
{
    struct batch half = { 0 }, whole;
    append(&half, 3, 1, 1);
    half.target[0] = 4, half.value[0] = 1; /* 0.5 * 2 - (4 - 1) = -2 */
    whole = half;
    run(plumb_test_device(), loss_of(PLUMB_UNPAIRED_RESIDUAL), 0, &half);
    run(plumb_test_device(), loss_of(PLUMB_UNPAIRED_A_STAR_PO), 0, &whole);
    cr_expect(half.losses[0] == 2 && half.dlogp[0] == -1 && half.dvalue[0] == -2);
    cr_expect(whole.losses[0] == 4 && whole.dlogp[0] == -2 && whole.dvalue[0] == -4);
}

/* Unlearning starts with the slope of gradient ascent and ends when the completion is gone. */
Test(unpaired, npo_is_ascent_that_stops)
{
    struct batch b = { 0 };
    append(&b, -2, -2, 0);
    append(&b, 1000, 0, 0);
    append(&b, -1000, 0, 0);
    append(&b, -3, 0, 1);
    run(&plumb_ref, loss_of(PLUMB_UNPAIRED_NPO), 0, &b);
    cr_expect_float_eq(b.losses[0], 4 * log(2), 1e-14);
    cr_expect_float_eq(b.dlogp[0], 1, 1e-15);
    cr_expect_float_eq(b.losses[1], 2000, 1e-10);
    cr_expect(b.dlogp[TOKENS] == 2 && b.losses[2] < 1e-200 && b.dlogp[2 * TOKENS] < 1e-200);
    cr_expect(b.losses[3] == 3 && b.dlogp[3 * TOKENS] == -1);
}

Test(unpaired, signed_likelihood_goes_both_ways)
{
    struct plumb_unpaired a = loss_of(PLUMB_UNPAIRED_SIGNED_NLL);
    struct batch b = { 0 };
    append(&b, -3, -2, 0);
    append(&b, -3, -2, 0);
    b.target[0] = 0.75, b.target[1] = -0.25, a.lambda = 0.5;
    run(plumb_test_device(), a, 0, &b);
    cr_expect(b.losses[0] == 2.25 - 0.5 && b.losses[1] == -0.75 - 0.5);
    cr_expect(b.dlogp[0] == -0.25 && b.dlogp[TOKENS] == 0.75);
}

/* At ratio 1, normalised by 1 - r, the gradient is that of the reward minus its mean. */
Test(unpaired, nft_on_policy_is_the_centred_reward)
{
    struct plumb_unpaired a = loss_of(PLUMB_UNPAIRED_NFT);
    struct batch b = { 0 };
    append(&b, -3, -3, 1);
    append(&b, -3, -3, 0);
    b.target[0] = b.target[1] = 0.25, a.normalize = 1;
    run(plumb_test_device(), a, 0, &b);
    cr_expect(b.dlogp[0] == -0.75 && b.dlogp[TOKENS] == 0.25, "%g, %g", b.dlogp[0],
              b.dlogp[TOKENS]);
}

Test(unpaired, all_formulas_are_finite_at_the_extremes)
{
    const double most[6] = { 200, -200, 3e38, -3e38, 0, -1e-30 };
    for (int id = 0; plumb_unpaired_name(id); id++) {
        struct batch b = { 0 };
        for (int i = 0; i < 12; i++) {
            append(&b, most[i / 2], -most[i / 2], i % 2);
            b.target[i] = i % 3 ? 3e38 : -3e38, b.value[i] = i % 4 ? -3e38 : 0;
        }
        run(plumb_test_device(), loss_of((enum plumb_unpaired_loss)id), 2, &b);
        for (int i = 0; i < 12; i++)
            cr_expect(
                isfinite(b.losses[i]) && isfinite(b.dlogp[TOKENS * i]) && isfinite(b.dvalue[i]),
                "%s, row %d: %g, %g", plumb_unpaired_name(id), i, b.losses[i], b.dlogp[TOKENS * i]);
    }
}

/* The state may be replaced in place; moments of halves are those of the whole. */
Test(unpaired, the_running_delta_is_the_mean_of_all_rewards)
{
    const struct plumb_device *dev = plumb_test_device();
    const double logp[6] = { 1000.5, 1001, 999, 1000, 1002.25, 998 };
    double state[3] = { 0 }, mean = 0, variance = 0, *there = state;
    const int32_t offset[4] = { 0, 1, 2, 3 };
    if (!plumb_device_is_host(dev)) there = (double *)(uintptr_t)plumb_test_copy(dev, state, 24);
    for (int half = 0; half < 2; half++) {
        struct plumb_bco_delta a = { .struct_bytes = sizeof a, .B = 3, .beta = 2 };
        a.offset = plumb_test_copy(dev, offset, sizeof offset);
        a.before = a.after = there;
        a.logp = plumb_test_tensor(dtype_of(dev), 3, logp + 3 * half);
        a.delta = plumb_test_tensor(dtype_of(dev), 1, NULL);
        a.variance = plumb_test_tensor(dtype_of(dev), 1, NULL);
        struct plumb_tensor *all[] = { &a.logp, &a.delta, &a.variance };
        for (int i = 0; i < 3; i++)
            plumb_test_to(dev, all[i], i ? 1 : 3);
        cr_assert_eq(plumb_bco_delta(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
        for (int i = 0; i < 3; i++)
            plumb_test_from(dev, all[i], i ? 1 : 3);
        mean = plumb_test_get(&a.delta, 0), variance = plumb_test_get(&a.variance, 0);
        for (int i = 0; i < 3; i++)
            plumb_test_free(all[i]);
    }
    double sum = 0, squares = 0;
    for (int i = 0; i < 6; i++)
        sum += 2 * logp[i];
    for (int i = 0; i < 6; i++)
        squares += (2 * logp[i] - sum / 6) * (2 * logp[i] - sum / 6);
    cr_expect_float_eq(mean, sum / 6, 1e-3);
    cr_expect_float_eq(variance, squares / 6, 1e-5);
}

/* A rounding of z moves e^-z by |z| roundings; a dozen more for the rest of the formula. */
static void expect_close(double got, double truth, double z)
{
    cr_expect(fabs(got - truth) <= (12 + fabs(z)) * FLT_EPSILON * fabs(truth) + FLT_MIN,
              "%g for %g", got, truth);
}

Test(unpaired, extreme_log_ratios_keep_their_digits_and_the_largest_saturate)
{
    struct batch cpu = { 0 }, ref, huge = { 0 };
    const double most[4] = { 1e4, -1e4, 200, -200 };
    for (int i = 0; i < 8; i++)
        append(&cpu, most[i / 2], 0, i % 2);
    for (int i = 0; i < 4; i++)
        append(&huge, i & 1 ? 3e38 : -3e38, i & 1 ? -3e38 : 3e38, i / 2);
    ref = cpu;
    run(plumb_test_device(), with(0.1, 1, 1, 4), 0, &cpu);
    run(&plumb_ref, with(0.1, 1, 1, 4), 0, &ref);
    for (int i = 0; i < 8; i++) {
        expect_close(cpu.losses[i], ref.losses[i], 0.1 * cpu.logp[TOKENS * i]);
        expect_close(cpu.dlogp[TOKENS * i], ref.dlogp[TOKENS * i], 0.1 * cpu.logp[TOKENS * i]);
    }
    run(plumb_test_device(), with(20, 1e30, 1e30, 1e-9), 0, &huge);
    for (int i = 0; i < 4; i++)
        cr_expect(isfinite(huge.losses[i]) && isfinite(huge.dlogp[TOKENS * i]));
}

Test(unpaired, a_completions_bits_ignore_the_others_and_nan_is_not_hidden)
{
    struct batch all = { 0 };
    for (int i = 0; i < 9; i++)
        append(&all, i == 4 ? NAN : -1.7 * i, -2.1 * i, i % 2);
    run(plumb_test_device(), with(0.1, 1.1, 0.9, 3), 0.5, &all);
    for (int i = 0; i < 9; i++) {
        struct batch one = { 0 };
        append(&one, all.logp[TOKENS * i], all.ref[TOKENS * i], i % 2);
        run(plumb_test_device(), with(0.1, 1.1, 0.9, 3), 0.5, &one);
        cr_expect_eq(!!isnan(all.losses[i]), i == 4);
        if (i == 4) continue;
        cr_expect(one.losses[0] == all.losses[i] && one.dlogp[0] == all.dlogp[TOKENS * i]);
    }
    const double bad[2] = { 1, NAN }, zero[2] = { 0, 0 };
    cr_expect(isnan(reference_point(plumb_test_device(), bad, zero, 2)));
    cr_expect(isnan(reference_point(&plumb_ref, bad, zero, 2)));
}

/* ---- misuse ---- */

Test(unpaired, names_the_argument_that_is_wrong)
{
    enum { CASES = 14 };
    const int32_t offset[3] = { 0, 1, 2 }, label[2] = { 1, 0 }, odd[2] = { 1, 2 };
    float v[2] = { 0 }, o[8];
    struct plumb_unpaired good = with(0.1, 1, 1, 1), bad[CASES];
    good.B = 2, good.offset = offset, good.label = label;
    good.logp = (struct plumb_tensor){ v, PLUMB_F32 };
    good.losses = (struct plumb_tensor){ o, PLUMB_F32 };
    good.logps = (struct plumb_tensor){ o + 2, PLUMB_F32 };
    good.rewards = (struct plumb_tensor){ o + 4, PLUMB_F32 };
    cr_assert_eq(plumb_unpaired(&plumb_cpu, &good), PLUMB_OK, "%s", plumb_errmsg());
    static const char *const word[CASES] = { "label[1]=2",
                                             "label is missing",
                                             "loss=99",
                                             "beta=-1",
                                             "divisor=0",
                                             "desirable_weight",
                                             "undesirable_weight=nan",
                                             "offset is missing",
                                             "both given",
                                             "losses is missing",
                                             "target is missing",
                                             "clip=-1",
                                             "clamp_negative=0",
                                             "normalize=3" };
    for (int i = 0; i < CASES; i++)
        bad[i] = good;
    bad[0].label = odd;
    bad[1].label = NULL;
    bad[2].loss = (enum plumb_unpaired_loss)99;
    bad[3].beta = -1;
    bad[4].divisor = 0;
    bad[5].desirable_weight = -1;
    bad[6].undesirable_weight = NAN;
    bad[7].offset = NULL;
    bad[8].ref_logp = bad[8].ref_sum = good.logp;
    bad[9].losses.data = NULL;
    bad[10].loss = PLUMB_UNPAIRED_RESIDUAL;
    bad[11].clip = -1;
    for (int i = 12; i < CASES; i++)
        bad[i].loss = PLUMB_UNPAIRED_NFT, bad[i].target = good.logp;
    bad[12].clamp_negative = 0;
    bad[13].normalize = 3;
    for (int i = 0; i < CASES; i++) {
        cr_expect_eq(plumb_unpaired(&plumb_cpu, &bad[i]), PLUMB_EINVAL, "case %d", i);
        cr_expect(strstr(plumb_errmsg(), word[i]), "case %d, message was: %s", i, plumb_errmsg());
    }
    cr_expect_eq(plumb_unpaired_find("kto"), PLUMB_UNPAIRED_KTO);
    cr_expect_eq(plumb_unpaired_find("kt"), -1);
    cr_expect_str_eq(plumb_unpaired_name(0), "kto");
}

Test(unpaired, reference_points_name_what_is_missing)
{
    const int32_t offset[3] = { 0, 1, 2 };
    float v[2] = { 0 };
    const struct plumb_tensor logp = { v, PLUMB_F32 };
    const struct plumb_kto_kl kl = { .struct_bytes = sizeof kl, .B = 2, .logp = logp };
    cr_expect_eq(plumb_kto_kl(&plumb_cpu, &kl), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), "kto_kl: offset"), "message was: %s", plumb_errmsg());
    const struct plumb_bco_delta delta = { .struct_bytes = sizeof delta,
                                           .B = 2,
                                           .offset = offset,
                                           .logp = logp,
                                           .beta = 1 };
    cr_expect_eq(plumb_bco_delta(&plumb_cpu, &delta), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), "before is missing"), "message was: %s", plumb_errmsg());
}
