#include <plumb/advantage.h>

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "tests/tensor.h"

enum { MAX = 64 };

struct batch {
    int64_t N, G;
    int32_t offset[MAX + 1];
    double reward[MAX], weight[MAX], advantage[MAX], mean[MAX], deviation[MAX];
    const double *moments;
};

static void append(struct batch *b, int n, const double *reward)
{
    for (int i = 0; i < n; i++) {
        b->weight[b->N] = 1;
        b->reward[b->N++] = reward[i];
    }
    b->offset[++b->G] = (int32_t)b->N;
}

static void run(const struct plumb_device *dev, const struct plumb_advantage *call, struct batch *b)
{
    const enum plumb_dtype t = dev->kind == PLUMB_DEV_REF ? PLUMB_F64 : PLUMB_F32;
    static const double set[4] = { 4, 0.5, 3, 2 };
    struct plumb_advantage a = *call;
    a.struct_bytes = sizeof a, a.N = b->N, a.G = b->G;
    a.offset = plumb_test_copy(dev, b->offset, sizeof b->offset);
    a.moments = plumb_test_copy(dev, b->moments ? b->moments : set, sizeof set);
    a.reward = plumb_test_tensor(t, b->N, b->reward);
    a.weight = plumb_test_tensor(t, b->N, b->weight);
    a.advantage = plumb_test_tensor(t, b->N, NULL);
    a.mean = plumb_test_tensor(t, b->G, NULL);
    a.deviation = plumb_test_tensor(t, b->G, NULL);
    struct {
        struct plumb_tensor *t;
        int64_t count;
        double *out;
    } all[] = { { &a.reward, b->N, NULL },
                { &a.weight, b->N, NULL },
                { &a.advantage, b->N, b->advantage },
                { &a.mean, b->G, b->mean },
                { &a.deviation, b->G, b->deviation } };
    for (int i = 0; i < 5; i++)
        plumb_test_to(dev, all[i].t, all[i].count);
    cr_assert_eq(plumb_advantage(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
    for (int i = 0; i < 5; i++) {
        plumb_test_from(dev, all[i].t, all[i].count);
        for (int64_t k = 0; all[i].out && k < all[i].count; k++)
            all[i].out[k] = plumb_test_get(all[i].t, k);
        plumb_test_free(all[i].t);
    }
}

static struct plumb_advantage by(enum plumb_advantage_formula f)
{
    return (struct plumb_advantage){ .formula = f };
}

/* Published figures: LOOP's (1, 0 x 5), ARPO's one success in 8. */
Test(advantage, values_that_papers_give)
{
    struct batch b = { 0 };
    append(&b, 6, (const double[]){ 1, 0, 0, 0, 0, 0 });
    append(&b, 8, (const double[]){ 1, 0, 0, 0, 0, 0, 0, 0 });
    struct plumb_advantage a = by(PLUMB_ADVANTAGE_LEAVE_ONE_OUT);
    run(plumb_test_device(), &a, &b);
    cr_expect_eq(b.advantage[0], 1);
    cr_expect_float_eq(b.advantage[3], -0.2, 1e-7);
    a = by(PLUMB_ADVANTAGE_NORMALIZED);
    run(plumb_test_device(), &a, &b);
    cr_expect_float_eq(b.advantage[6], 2.4749, 5e-5);
    cr_expect_float_eq(b.advantage[9], -0.3536, 5e-5);
    cr_expect_float_eq(b.mean[1], 0.125, 1e-7);
    cr_expect_float_eq(b.deviation[1], sqrt(0.125), 1e-7);
}

Test(advantage, formulas_by_hand)
{
    struct batch b = { 0 };
    append(&b, 3, (const double[]){ 1, 4, 2 });
    b.weight[0] = 1, b.weight[1] = 3, b.weight[2] = 4;
    const double want[][3] = { { -4. / 3, 5. / 3, -1. / 3 },
                               { 0 },
                               { 0 },
                               { -2, 2.5, -0.5 },
                               { -8. / 3, 10. / 3, -2. / 3 },
                               { -1.625, 1.375, -0.625 },
                               { 0, 2, 0 } };
    const int shown[] = { PLUMB_ADVANTAGE_CENTRED, PLUMB_ADVANTAGE_LEAVE_ONE_OUT,
                          PLUMB_ADVANTAGE_GPG, PLUMB_ADVANTAGE_OPO, PLUMB_ADVANTAGE_PASS_K };
    for (int f = 0; f < 5; f++) {
        const struct plumb_advantage a = by((enum plumb_advantage_formula)shown[f]);
        run(plumb_test_device(), &a, &b);
        for (int i = 0; i < 3; i++)
            cr_expect_float_eq(b.advantage[i], want[shown[f]][i], 1e-6, "%s, %d: %g",
                               plumb_advantage_name(shown[f]), i, b.advantage[i]);
    }
}

Test(advantage, groups_without_variance_and_ties_give_0)
{
    struct batch b = { 0 };
    append(&b, 3, (const double[]){ 0.1, 0.1, 0.1 });
    append(&b, 0, NULL);
    append(&b, 1, (const double[]){ 5 });
    for (int id = 0; plumb_advantage_name(id); id++) {
        const struct plumb_advantage a = by((enum plumb_advantage_formula)id);
        run(plumb_test_device(), &a, &b);
        for (int i = 0; i < 4; i++)
            cr_expect_eq(b.advantage[i], 0, "%s: %g", plumb_advantage_name(id), b.advantage[i]);
    }
}

Test(advantage, a_single_response_keeps_its_reward_where_asked)
{
    struct batch b = { 0 };
    append(&b, 1, (const double[]){ 5 });
    struct plumb_advantage a = by(PLUMB_ADVANTAGE_NORMALIZED);
    a.keep_single = true;
    run(plumb_test_device(), &a, &b);
    cr_expect_eq(b.advantage[0], 5);
    a.formula = PLUMB_ADVANTAGE_LEAVE_ONE_OUT;
    run(plumb_test_device(), &a, &b);
    cr_expect_eq(b.advantage[0], 5);
}

/* Leave-one-out is the centred reward times n / (n - 1); what shifts all rewards shifts nothing. */
Test(advantage, estimators_agree_where_they_must)
{
    struct batch b = { 0 }, c, d;
    append(&b, 4, (const double[]){ 0.5, -1, 2, 7 });
    c = d = b;
    for (int i = 0; i < 4; i++)
        d.reward[i] += 4096;
    const struct plumb_advantage loo = by(PLUMB_ADVANTAGE_LEAVE_ONE_OUT);
    const struct plumb_advantage plain = by(PLUMB_ADVANTAGE_CENTRED);
    run(plumb_test_device(), &loo, &b);
    run(plumb_test_device(), &plain, &c);
    run(plumb_test_device(), &loo, &d);
    for (int i = 0; i < 4; i++) {
        cr_expect_float_eq(b.advantage[i], c.advantage[i] * 4 / 3, 1e-6);
        cr_expect_eq(b.advantage[i], d.advantage[i]);
    }
}

Test(advantage, nan_stays_in_its_group_and_the_largest_saturate)
{
    struct batch b = { 0 };
    append(&b, 2, (const double[]){ NAN, 1 });
    append(&b, 2, (const double[]){ 3e38, -3e38 });
    for (int id = 0; plumb_advantage_name(id); id++) {
        const struct plumb_advantage a = by((enum plumb_advantage_formula)id);
        run(plumb_test_device(), &a, &b);
        cr_expect(isnan(b.advantage[0]) && isnan(b.advantage[1]), "%s", plumb_advantage_name(id));
        cr_expect(isfinite(b.advantage[2]) && isfinite(b.advantage[3]));
    }
}

static void judge(bool win_rate, int K, const double *score, double *out)
{
    const struct plumb_device *dev = plumb_test_device();
    struct plumb_verdicts a = { .struct_bytes = sizeof a,
                                .G = 1,
                                .K = K,
                                .win_rate = win_rate,
                                .score = plumb_test_tensor(PLUMB_F32, K * K, score),
                                .advantage = plumb_test_tensor(PLUMB_F32, K, NULL) };
    plumb_test_to(dev, &a.score, K * K), plumb_test_to(dev, &a.advantage, K);
    cr_assert_eq(plumb_verdicts(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
    plumb_test_from(dev, &a.score, K * K), plumb_test_from(dev, &a.advantage, K);
    for (int k = 0; k < K; k++)
        out[k] = plumb_test_get(&a.advantage, k);
    plumb_test_free(&a.score), plumb_test_free(&a.advantage);
}

/* Differences of rewards (1, 0, 0, 0): (1.5, -0.5, -0.5, -0.5), the normalised advantage. */
Test(advantage, verdicts_that_are_differences_are_normalised_rewards)
{
    const double r[4] = { 1, 0, 0, 0 }, none[9] = { 0 };
    double d[16], out[4];
    for (int i = 0; i < 16; i++)
        d[i] = r[i / 4] - r[i % 4];
    judge(false, 4, d, out);
    cr_expect_float_eq(out[0], 1.5, 1e-6);
    cr_expect_float_eq(out[3], -0.5, 1e-6);
    judge(false, 3, none, out);
    cr_expect_eq(out[1], 0); /* all ties, no epsilon */
    judge(true, 4, (const double[]){ 9, 1, 0.5, 0, 0, 9, 1, 1, 0.5, 0, 9, 0.25, 1, 0, 0.75, 9 },
          out);
    cr_expect_float_eq(out[0], 0.5, 1e-7);
    cr_expect_float_eq(out[2], 0.25, 1e-7);
}

/* beta to 0: the best reward; to infinity: the mean. */
Test(advantage, the_optimal_value_lies_between_mean_and_best)
{
    const struct plumb_device *dev = plumb_test_device();
    const double reward[4] = { 1, 3, 200, -200 }, beta[3] = { 1e-3, 1e6, 1 };
    const int32_t offset[4] = { 0, 2, 4, 4 };
    const double want[3][2] = { { 3, 200 },
                                { 2, 0 },
                                { 3 + log((1 + exp(-2)) / 2), 200 - log(2) } };
    for (int i = 0; i < 3; i++) {
        struct plumb_optimal_value a = { .struct_bytes = sizeof a,
                                         .N = 4,
                                         .G = 3,
                                         .offset = plumb_test_copy(dev, offset, sizeof offset),
                                         .beta = beta[i],
                                         .reward = plumb_test_tensor(PLUMB_F32, 4, reward),
                                         .value = plumb_test_tensor(PLUMB_F32, 3, NULL) };
        plumb_test_to(dev, &a.reward, 4), plumb_test_to(dev, &a.value, 3);
        cr_assert_eq(plumb_optimal_value(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
        plumb_test_from(dev, &a.reward, 4), plumb_test_from(dev, &a.value, 3);
        for (int g = 0; g < 2; g++)
            cr_expect_float_eq(plumb_test_get(&a.value, g), want[i][g], 0.03);
        cr_expect_eq(plumb_test_get(&a.value, 2), 0); /* empty */
        plumb_test_free(&a.reward), plumb_test_free(&a.value);
    }
}

Test(advantage, the_kl_coefficient_moves_by_a_fifth_at_most)
{
    cr_expect_float_eq(plumb_adaptive_kl(0.2, 6, 6, 1e4, 256), 0.2, 1e-15);
    cr_expect_float_eq(plumb_adaptive_kl(0.2, 100, 6, 1000, 100), 0.2 * 1.02, 1e-15);
    cr_expect_float_eq(plumb_adaptive_kl(0.2, 0, 6, 1000, 100), 0.2 * 0.98, 1e-15);
}

Test(advantage, names_the_argument_that_is_wrong)
{
    enum { CASES = 7 };
    float v[2] = { 1, 0 }, o[2];
    const int32_t offset[2] = { 0, 2 }, index[2] = { 0, 2 }, past[2] = { 0, 3 };
    const struct plumb_advantage good = { .struct_bytes = sizeof good,
                                          .N = 2,
                                          .G = 1,
                                          .offset = offset,
                                          .reward = { v, PLUMB_F32 },
                                          .advantage = { o, PLUMB_F32 } };
    struct plumb_advantage bad[CASES];
    static const char *const word[CASES] = { "formula=99",  "index[1]=2",
                                             "offset[1]=3", "moments is missing",
                                             "epsilon=-1",  "advantage is missing",
                                             "with index" };
    cr_assert_eq(plumb_advantage(&plumb_cpu, &good), PLUMB_OK, "%s", plumb_errmsg());
    for (int i = 0; i < CASES; i++)
        bad[i] = good;
    bad[0].formula = (enum plumb_advantage_formula)99;
    bad[1].index = index;
    bad[2].offset = past;
    bad[3].formula = PLUMB_ADVANTAGE_GPG;
    bad[4].epsilon = -1;
    bad[5].advantage.data = NULL;
    bad[6].index = offset, bad[6].G = 1, bad[6].offset = (const int32_t[]){ 0, 1 };
    bad[6].advantage = good.reward;
    for (int i = 0; i < CASES; i++) {
        cr_expect_eq(plumb_advantage(&plumb_cpu, &bad[i]), PLUMB_EINVAL, "case %d", i);
        cr_expect(strstr(plumb_errmsg(), word[i]), "case %d, message was: %s", i, plumb_errmsg());
    }
}
