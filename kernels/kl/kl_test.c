#include <plumb/kl.h>

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "tests/tensor.h"

enum { MAX = 64 };

struct batch {
    int64_t M;
    double logp[MAX], ref[MAX], old[MAX], kl[MAX], dlogp[MAX];
};

static void append(struct batch *b, double logp, double ref, double old)
{
    cr_assert_lt(b->M, MAX);
    b->logp[b->M] = logp, b->ref[b->M] = ref, b->old[b->M++] = old;
}

static void run(const struct plumb_device *dev, const char *estimator, double clamp,
                struct batch *b)
{
    const enum plumb_dtype t = dev->kind == PLUMB_DEV_REF ? PLUMB_F64 : PLUMB_F32;
    struct plumb_kl a = { .struct_bytes = sizeof a,
                          .estimator = (enum plumb_kl_estimator)plumb_kl_find(estimator),
                          .M = b->M,
                          .clamp = clamp,
                          .divisor = 1,
                          .logp = plumb_test_tensor(t, b->M, b->logp),
                          .ref_logp = plumb_test_tensor(t, b->M, b->ref),
                          .old_logp = plumb_test_tensor(t, b->M, b->old),
                          .kl = plumb_test_tensor(t, b->M, NULL),
                          .dlogp = plumb_test_tensor(t, b->M, NULL) };
    struct plumb_tensor *all[] = { &a.logp, &a.ref_logp, &a.old_logp, &a.kl, &a.dlogp };
    for (int i = 0; i < 5; i++)
        plumb_test_to(dev, all[i], b->M);
    cr_assert_eq(plumb_kl(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
    for (int i = 0; i < 5; i++)
        plumb_test_from(dev, all[i], b->M);
    for (int64_t i = 0; i < b->M; i++) {
        b->kl[i] = plumb_test_get(&a.kl, i);
        b->dlogp[i] = plumb_test_get(&a.dlogp, i);
    }
    for (int i = 0; i < 5; i++)
        plumb_test_free(all[i]);
}

static const double policy[4] = { 0.5, 0.25, 0.125, 0.125 };
static const double reference[4] = { 0.125, 0.25, 0.5, 0.125 };

/* Over all tokens of a vocabulary of four: the mean under the policy of k1 and of k3 is the
 * divergence, that of (its logs' derivatives times) k2's slope its gradient. */
Test(kl, means_over_the_policys_own_tokens_are_the_divergence)
{
    struct batch k1 = { 0 }, k3;
    double truth = 0, first = 0, third = 0;
    for (int v = 0; v < 4; v++) {
        append(&k1, log(policy[v]), log(reference[v]), log(policy[v]));
        truth += policy[v] * log(policy[v] / reference[v]);
    }
    k3 = k1;
    run(&plumb_ref, "k1", 0, &k1);
    run(&plumb_ref, "k3", 0, &k3);
    for (int v = 0; v < 4; v++)
        first += policy[v] * k1.kl[v], third += policy[v] * k3.kl[v];
    cr_expect_float_eq(first, truth, 1e-15);
    cr_expect_float_eq(third, truth, 1e-15);
}

/* Tokens of another policy, weighted by the ratio, have the divergence as their mean too, and their
 * mean gradient is its gradient: by logit v of a softmax, p_v (log p_v - log q_v - KL). */
Test(kl, the_weighted_estimate_is_exact_off_policy_in_value_and_gradient)
{
    static const double sampled[4] = { 0.25, 0.25, 0.25, 0.25 };
    struct batch b = { 0 };
    double truth = 0, mean = 0;
    for (int v = 0; v < 4; v++) {
        append(&b, log(policy[v]), log(reference[v]), log(sampled[v]));
        truth += policy[v] * log(policy[v] / reference[v]);
    }
    run(&plumb_ref, "k3_importance_weighted", 0, &b);
    for (int v = 0; v < 4; v++) {
        double slope = 0; /* of the mean by logit v; d log p_u / d logit v = [u = v] - p_v */
        for (int u = 0; u < 4; u++)
            slope += sampled[u] * b.dlogp[u] * ((u == v) - policy[v]);
        cr_expect_float_eq(slope, policy[v] * (log(policy[v] / reference[v]) - truth), 1e-15);
        mean += sampled[v] * b.kl[v];
    }
    cr_expect_float_eq(mean, truth, 1e-15);
}

Test(kl, equal_policies_diverge_by_nothing)
{
    for (int id = 0; plumb_kl_name(id); id++) {
        struct batch b = { 0 };
        append(&b, -1.75, -1.75, -300);
        append(&b, -1.75, -1.75, 200);
        append(&b, 0, 0, 0);
        run(plumb_test_device(), plumb_kl_name(id), 0, &b);
        for (int i = 0; i < 3; i++) {
            cr_expect_eq(b.kl[i], 0, "%s", plumb_kl_name(id));
            cr_expect(b.dlogp[i] == (id == PLUMB_KL_K1), "%s", plumb_kl_name(id));
        }
    }
}

/* d^2/2 - d^3/6 + d^4/24: further terms are below f32's digits. */
Test(kl, k3_of_tiny_log_ratios_keeps_all_its_digits)
{
    struct batch b = { 0 };
    for (int i = 0; i < 24; i++)
        append(&b, ldexp(i % 2 ? 1 : -1, -7 - i / 2), 0, 0);
    run(plumb_test_device(), "k3", 0, &b);
    for (int i = 0; i < 24; i++) {
        const double d = b.logp[i], truth = d * d / 2 * (1 - d / 3 * (1 - d / 4 * (1 - d / 5)));
        cr_expect_float_eq(b.kl[i], truth, 4 * FLT_EPSILON * truth);
        cr_expect_float_eq(b.dlogp[i], -expm1(-d), 4 * FLT_EPSILON * fabs(d));
        cr_expect_gt(b.kl[i], 0);
    }
}

/* Where f32 can hold the oracle's value it is found, though a factor overflows or vanishes; a
 * rounding of an exponent of e moves the value by e roundings. */
Test(kl, extreme_log_ratios_agree_with_the_oracle_or_saturate)
{
    static const double far[] = { -3e38, -400, -200, -90, -1, 0, 1, 90, 200, 400, 3e38 };
    for (int id = 0; plumb_kl_name(id); id++)
        for (int i = 0; i < 11; i++) {
            struct batch b = { 0 }, ref;
            for (int k = 1; k < 10; k++) {
                append(&b, 0, far[i], far[k]);
                append(&b, 0, far[i] + far[k], far[k]);
            }
            ref = b;
            run(plumb_test_device(), plumb_kl_name(id), 0, &b);
            run(&plumb_ref, plumb_kl_name(id), 0, &ref);
            for (int k = 0; k < b.M; k++) {
                const double got[] = { b.kl[k], b.dlogp[k] }, truth[] = { ref.kl[k], ref.dlogp[k] };
                for (int what = 0; what < 2; what++)
                    if (fabs(truth[what]) < FLT_MAX)
                        cr_expect(fabs(got[what] - truth[what]) <=
                                      1000 * FLT_EPSILON * fabs(truth[what]) + FLT_MIN,
                                  "%s of %g, %g: %g for %g", plumb_kl_name(id), b.ref[k], b.old[k],
                                  got[what], truth[what]);
                    else
                        cr_expect(isfinite(got[what]) && fabs(got[what]) > 1e38);
            }
        }
}

Test(kl, a_clamped_value_has_no_gradient_and_nan_is_not_hidden)
{
    for (int id = 0; plumb_kl_name(id); id++) {
        struct batch b = { 0 };
        append(&b, -30, 0, -30);
        append(&b, -0.5, -0.25, -0.5);
        append(&b, NAN, 0, 0);
        append(&b, 0, NAN, 0);
        run(plumb_test_device(), plumb_kl_name(id), 2, &b);
        cr_expect(fabs(b.kl[0]) == 2 && b.dlogp[0] == 0, "%s", plumb_kl_name(id));
        cr_expect(fabs(b.kl[1]) < 1 && b.dlogp[1] != 0, "%s", plumb_kl_name(id));
        cr_expect(isnan(b.kl[2]) && isnan(b.kl[3]), "%s", plumb_kl_name(id));
        if (id != PLUMB_KL_K1)
            cr_expect(isnan(b.dlogp[2]) && isnan(b.dlogp[3]), "%s", plumb_kl_name(id));
    }
}

Test(kl, names_the_argument_that_is_wrong)
{
    enum { CASES = 8 };
    float v[1] = { -1 }, o[2];
    const struct plumb_kl good = { .struct_bytes = sizeof good,
                                   .M = 1,
                                   .logp = { v, PLUMB_F32 },
                                   .ref_logp = { v, PLUMB_F32 },
                                   .kl = { o, PLUMB_F32 },
                                   .divisor = 1 };
    struct plumb_kl bad[CASES];
    static const char *const word[CASES] = { "estimator=-1",    "M=-1",
                                             "logp is missing", "ref_logp is miss",
                                             "clamp=nan",       "divisor=0",
                                             "kl is missing",   "old_logp cannot" };
    cr_assert_eq(plumb_kl(&plumb_cpu, &good), PLUMB_OK, "%s", plumb_errmsg());
    for (int i = 0; i < CASES; i++)
        bad[i] = good;
    bad[0].estimator = (enum plumb_kl_estimator)plumb_kl_find("k4");
    bad[1].M = -1;
    bad[2].logp.data = NULL;
    bad[3].ref_logp.data = NULL;
    bad[4].clamp = NAN;
    bad[5].divisor = 0;
    bad[6].kl.data = NULL;
    bad[7].old_logp = (struct plumb_tensor){ v, PLUMB_I32 };
    for (int i = 0; i < CASES; i++) {
        cr_expect_eq(plumb_kl(&plumb_cpu, &bad[i]), PLUMB_EINVAL, "case %d", i);
        cr_expect(strstr(plumb_errmsg(), word[i]), "case %d, message was: %s", i, plumb_errmsg());
    }
    cr_expect_str_eq(plumb_kl_name(PLUMB_KL_K3), "k3");
}
