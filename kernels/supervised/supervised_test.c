#include <plumb/supervised.h>

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "tests/tensor.h"

enum { MAX = 256 };

struct batch {
    int64_t M;
    int32_t target[MAX];
    double logp[MAX], reward[MAX], losses[MAX], dlogp[MAX];
};

static void append(struct batch *b, double logp, bool trained)
{
    cr_assert_lt(b->M, MAX);
    b->logp[b->M] = logp;
    b->target[b->M++] = trained ? 5 : -1;
}

static void run(const struct plumb_device *dev, const char *loss, const double *weight,
                double divisor, struct batch *b)
{
    const enum plumb_dtype t = dev->kind == PLUMB_DEV_REF ? PLUMB_F64 : PLUMB_F32;
    struct plumb_supervised a = { .struct_bytes = sizeof a,
                                  .loss = (enum plumb_supervised_loss)plumb_supervised_find(loss),
                                  .M = b->M,
                                  .divisor = divisor,
                                  .beta = 0.5,
                                  .max_weight = 4,
                                  .reward = plumb_test_tensor(t, b->M, b->reward),
                                  .logp = plumb_test_tensor(t, b->M, b->logp),
                                  .losses = plumb_test_tensor(t, b->M, NULL),
                                  .dlogp = plumb_test_tensor(t, b->M, NULL) };
    if (weight) a.weight = plumb_test_tensor(t, b->M, weight);
    struct plumb_tensor *all[] = { &a.logp, &a.weight, &a.losses, &a.dlogp, &a.reward };
    for (int i = 0; i < 5; i++)
        plumb_test_to(dev, all[i], b->M);
    a.target = plumb_test_copy(dev, b->target, sizeof b->target);
    cr_assert_eq(plumb_supervised(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
    for (int i = 0; i < 5; i++)
        plumb_test_from(dev, all[i], b->M);
    for (int64_t i = 0; i < b->M; i++) {
        b->losses[i] = plumb_test_get(&a.losses, i);
        b->dlogp[i] = plumb_test_get(&a.dlogp, i);
    }
    for (int i = 0; i < 5; i++)
        plumb_test_free(all[i]);
}

Test(supervised, a_skipped_token_counts_nothing_whatever_it_holds)
{
    struct batch b = { 0 };
    append(&b, -2, true);
    append(&b, NAN, false);
    append(&b, -INFINITY, false);
    for (int id = 0; plumb_supervised_name(id); id++) {
        run(plumb_test_device(), plumb_supervised_name(id), NULL, 2, &b);
        cr_expect(b.losses[1] == 0 && b.dlogp[1] == 0 && b.losses[2] == 0 && b.dlogp[2] == 0);
        cr_expect_eq(b.dlogp[0], id != PLUMB_SUPERVISED_DFT ? -0.5 : (double)-expf(-2) / 2);
    }
}

Test(supervised, weights_scale_the_loss_and_its_gradient)
{
    struct batch plain = { 0 }, weighted;
    const double weight[3] = { 2, -0.5, 0 };
    for (int i = 1; i <= 3; i++)
        append(&plain, -0.75 * i, true);
    weighted = plain;
    for (int id = 0; plumb_supervised_name(id); id++) {
        run(plumb_test_device(), plumb_supervised_name(id), NULL, 4, &plain);
        run(plumb_test_device(), plumb_supervised_name(id), weight, 4, &weighted);
        for (int i = 0; i < 3; i++)
            cr_expect(weighted.losses[i] == weight[i] * plain.losses[i] &&
                      weighted.dlogp[i] == weight[i] * plain.dlogp[i]);
    }
}

Test(supervised, very_unlikely_tokens_stay_finite_and_nan_is_not_hidden)
{
    struct batch b = { 0 };
    const double logp[5] = { -1e4, -3e38, -1e-30, 0, NAN };
    for (int i = 0; i < 5; i++)
        append(&b, logp[i], true);
    for (int id = 0; plumb_supervised_name(id); id++) {
        run(plumb_test_device(), plumb_supervised_name(id), NULL, 1e-3, &b);
        for (int i = 0; i < 4; i++)
            cr_expect(isfinite(b.losses[i]) && isfinite(b.dlogp[i]));
        cr_expect(isnan(b.losses[4]));
    }
}

/* beta = 0.5, largest weight 4: e^(1 / 0.5) = 7.39 is cut, e^(-0.25 / 0.5) = 0.607 not. */
Test(supervised, awr_weights_by_the_advantage_up_to_its_largest)
{
    struct batch b = { 0 };
    const double reward[4] = { 0, 1, 3e38, -0.25 };
    for (int i = 0; i < 4; i++) {
        append(&b, -2, true);
        b.reward[i] = reward[i];
    }
    run(plumb_test_device(), "awr", NULL, 1, &b);
    cr_expect(b.losses[0] == 2 && b.dlogp[0] == -1);
    cr_expect(b.losses[1] == 8 && b.dlogp[1] == -4 && b.losses[2] == 8 && b.dlogp[2] == -4);
    cr_expect_float_eq(b.dlogp[3], -exp(-0.5), 1e-7);
}

Test(supervised, names_the_argument_that_is_wrong)
{
    enum { CASES = 8 };
    float v[1] = { -1 }, o[1];
    const struct plumb_supervised good = { .struct_bytes = sizeof good,
                                           .M = 1,
                                           .logp = { v, PLUMB_F32 },
                                           .losses = { o, PLUMB_F32 },
                                           .divisor = 1 };
    struct plumb_supervised bad[CASES];
    static const char *const word[CASES] = { "loss=-1",           "M=-1",
                                             "logp is missing",   "divisor=-inf",
                                             "weight cannot",     "losses is missing",
                                             "reward is missing", "max_weight=0" };
    cr_assert_eq(plumb_supervised(&plumb_cpu, &good), PLUMB_OK, "%s", plumb_errmsg());
    for (int i = 0; i < CASES; i++)
        bad[i] = good;
    bad[0].loss = (enum plumb_supervised_loss)plumb_supervised_find("nil");
    bad[1].M = -1;
    bad[2].logp.data = NULL;
    bad[3].divisor = -INFINITY;
    bad[4].weight = (struct plumb_tensor){ v, PLUMB_I32 };
    bad[5].losses.data = NULL;
    bad[6].loss = PLUMB_SUPERVISED_AWR;
    bad[7].loss = PLUMB_SUPERVISED_AWR, bad[7].reward = good.logp, bad[7].beta = 1;
    for (int i = 0; i < CASES; i++) {
        cr_expect_eq(plumb_supervised(&plumb_cpu, &bad[i]), PLUMB_EINVAL, "case %d", i);
        cr_expect(strstr(plumb_errmsg(), word[i]), "case %d, message was: %s", i, plumb_errmsg());
    }
}
