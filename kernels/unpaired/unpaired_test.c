#include <plumb/unpaired.h>

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "tests/golden.h"
#include "tests/tensor.h"

enum { MAX = 64, TOKENS = 3 }; /* completions; tokens of each, the first carries the sum */

struct batch {
    int64_t B;
    int32_t offset[MAX + 1], label[MAX];
    double logp[TOKENS * MAX], ref[TOKENS * MAX];
    double losses[MAX], logps[MAX], rewards[MAX], dlogp[TOKENS * MAX];
};

static void append(struct batch *b, double policy, double reference, int label)
{
    const int64_t r = b->B++;
    cr_assert_lt(r, MAX);
    b->offset[r + 1] = b->offset[r] + TOKENS;
    b->logp[TOKENS * r] = policy, b->ref[TOKENS * r] = reference, b->label[r] = label;
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
    a.losses = plumb_test_tensor(t, a.B, NULL);
    a.logps = plumb_test_tensor(t, a.B, NULL);
    a.rewards = plumb_test_tensor(t, a.B, NULL);
    a.dlogp = plumb_test_tensor(t, M, NULL);
    struct plumb_tensor *all[] = { &a.logp,  &a.ref_logp, &a.kl,   &a.losses,
                                   &a.logps, &a.rewards,  &a.dlogp };
    const int64_t count[] = { M, M, 1, a.B, a.B, a.B, M };
    for (int i = 0; i < 7; i++)
        plumb_test_to(dev, all[i], count[i]);
    cr_assert_eq(plumb_unpaired(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
    for (int i = 0; i < 7; i++)
        plumb_test_from(dev, all[i], count[i]);
    for (int64_t i = 0; i < a.B; i++) {
        b->losses[i] = plumb_test_get(&a.losses, i);
        b->logps[i] = plumb_test_get(&a.logps, i);
        b->rewards[i] = plumb_test_get(&a.rewards, i);
    }
    for (int64_t i = 0; i < M; i++)
        b->dlogp[i] = plumb_test_get(&a.dlogp, i);
    for (int i = 0; i < 7; i++)
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

/* ---- values of published implementations ---- */

static void compare_metrics(struct plumb_golden *g, const cJSON *c, const struct batch *b,
                            enum plumb_dtype t)
{
    static const char *const names[4] = { "rewards/rejected", "rewards/chosen", "logps/rejected",
                                          "logps/chosen" };
    double sum[4] = { 0 }, rows[2] = { 0 };
    for (int64_t i = 0; i < b->B; i++) {
        sum[b->label[i]] += b->rewards[i];
        sum[2 + b->label[i]] += b->logps[i];
        rows[b->label[i]]++;
    }
    for (int k = 0; k < 4; k++) {
        int64_t n;
        const double *expected = plumb_golden_expected(g, c, "metrics", names[k], &n);
        if (expected) plumb_golden_check(g, c, names[k], 0, t, sum[k] / rows[k % 2], *expected);
    }
}

static void compare(struct plumb_golden *g, const cJSON *c, const struct batch *b,
                    enum plumb_dtype t)
{
    int64_t n;
    const double *losses = plumb_golden_expected(g, c, NULL, "losses", &n);
    const double *loss = plumb_golden_expected(g, c, NULL, "loss", &n);
    const double *grad = plumb_golden_expected(g, c, "grads", "policy_logps", &n);
    cr_assert(losses && loss && grad && n == b->B);
    double sum = 0;
    for (int64_t i = 0; i < b->B; i++) {
        sum += b->losses[i];
        plumb_golden_check(g, c, "losses", i, t, b->losses[i], losses[i]);
        for (int k = 0; k < TOKENS; k++)
            plumb_golden_check(g, c, "gradient", i, t, b->dlogp[TOKENS * i + k], grad[i]);
    }
    plumb_golden_check(g, c, "loss", 0, t, sum / (double)b->B, *loss);
    compare_metrics(g, c, b, t);
}

static void check_case(struct plumb_golden *g, const cJSON *c, const struct plumb_device *dev)
{
    static struct batch b;
    int64_t n, kl_rows;
    const double *policy = plumb_golden_input(g, c, "policy_logps", &n);
    const double *reference = plumb_golden_input(g, c, "ref_logps", &n);
    const double *label = plumb_golden_input(g, c, "labels", &n);
    const double *kl_policy = plumb_golden_input(g, c, "policy_kl_logps", &kl_rows);
    const double *kl_reference = plumb_golden_input(g, c, "ref_kl_logps", &kl_rows);
    b = (struct batch){ 0 };
    for (int64_t i = 0; i < n; i++)
        append(&b, policy[i], reference[i], (int)label[i]);
    double kl = plumb_golden_option(c, "kl", 0);
    if (kl_policy) {
        const double *expected = plumb_golden_expected(g, c, "metrics", "kl", &n);
        kl = reference_point(dev, kl_policy, kl_reference, kl_rows);
        plumb_golden_check(g, c, "kl", 0, dtype_of(dev), kl, *expected);
    }
    run(dev,
        with(plumb_golden_option(c, "beta", 0.1), plumb_golden_option(c, "desirable_weight", 1),
             plumb_golden_option(c, "undesirable_weight", 1), (double)b.B),
        kl, &b);
    compare(g, c, &b, dtype_of(dev));
}

static void check_member(const char *member)
{
    struct plumb_golden g;
    if (!plumb_golden_open(&g, member)) return;
    for (; g.run < g.count; g.run++) {
        check_case(&g, plumb_golden_case(&g, g.run), &plumb_ref);
        check_case(&g, plumb_golden_case(&g, g.run), plumb_test_device());
    }
    plumb_golden_close(&g);
}

Test(unpaired, agrees_with_published_implementations)
{
    check_member("unpaired/kto");
    check_member("unpaired/kto_given_kl");
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
    enum { CASES = 10 };
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
                                             "loss=9",
                                             "beta=-1",
                                             "divisor=0",
                                             "desirable_weight",
                                             "undesirable_weight=nan",
                                             "offset is missing",
                                             "both given",
                                             "losses is missing" };
    for (int i = 0; i < CASES; i++)
        bad[i] = good;
    bad[0].label = odd;
    bad[1].label = NULL;
    bad[2].loss = (enum plumb_unpaired_loss)9;
    bad[3].beta = -1;
    bad[4].divisor = 0;
    bad[5].desirable_weight = -1;
    bad[6].undesirable_weight = NAN;
    bad[7].offset = NULL;
    bad[8].ref_logp = bad[8].ref_sum = good.logp;
    bad[9].losses.data = NULL;
    for (int i = 0; i < CASES; i++) {
        cr_expect_eq(plumb_unpaired(&plumb_cpu, &bad[i]), PLUMB_EINVAL, "case %d", i);
        cr_expect(strstr(plumb_errmsg(), word[i]), "case %d, message was: %s", i, plumb_errmsg());
    }
    const struct plumb_kto_kl kl = { .struct_bytes = sizeof kl, .B = 2, .logp = good.logp };
    cr_expect_eq(plumb_kto_kl(&plumb_cpu, &kl), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), "kto_kl: offset"), "message was: %s", plumb_errmsg());
    cr_expect_eq(plumb_unpaired_find("kto"), PLUMB_UNPAIRED_KTO);
    cr_expect_eq(plumb_unpaired_find("kt"), -1);
    cr_expect_str_eq(plumb_unpaired_name(0), "kto");
}
