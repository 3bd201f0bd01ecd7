#include <plumb/supervised.h>

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "tests/golden.h"
#include "tests/tensor.h"

enum { MAX = 256 };

struct batch {
    int64_t M;
    int32_t target[MAX];
    double logp[MAX], losses[MAX], dlogp[MAX];
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
                                  .logp = plumb_test_tensor(t, b->M, b->logp),
                                  .losses = plumb_test_tensor(t, b->M, NULL),
                                  .dlogp = plumb_test_tensor(t, b->M, NULL) };
    if (weight) a.weight = plumb_test_tensor(t, b->M, weight);
    struct plumb_tensor *all[] = { &a.logp, &a.weight, &a.losses, &a.dlogp };
    for (int i = 0; i < 4; i++)
        plumb_test_to(dev, all[i], b->M);
    a.target = plumb_test_copy(dev, b->target, sizeof b->target);
    cr_assert_eq(plumb_supervised(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
    for (int i = 0; i < 4; i++)
        plumb_test_from(dev, all[i], b->M);
    for (int64_t i = 0; i < b->M; i++) {
        b->losses[i] = plumb_test_get(&a.losses, i);
        b->dlogp[i] = plumb_test_get(&a.dlogp, i);
    }
    for (int i = 0; i < 4; i++)
        plumb_test_free(all[i]);
}

static void check_case(struct plumb_golden *g, const cJSON *c, const char *loss,
                       const struct plumb_device *dev)
{
    const enum plumb_dtype t = dev->kind == PLUMB_DEV_REF ? PLUMB_F64 : PLUMB_F32;
    int64_t n;
    const double *logp = plumb_golden_input(g, c, "per_token_logps", &n);
    const double *mask = plumb_golden_input(g, c, "completion_mask", &n);
    struct batch b = { 0 };
    double trained = 0, sum = 0;
    for (int64_t i = 0; i < n; i++) {
        append(&b, logp[i], mask[i] > 0);
        trained += mask[i];
    }
    /* A mean over no token is 0: any divisor gives it. */
    run(dev, loss, NULL, plumb_golden_option(c, "num_items_in_batch", fmax(trained, 1)), &b);
    const double *expected = plumb_golden_expected(g, c, NULL, "loss", &n);
    const double *grad = plumb_golden_expected(g, c, "grads", "per_token_logps", &n);
    cr_assert(expected && grad && n == b.M);
    for (int64_t i = 0; i < n; i++) {
        sum += b.losses[i];
        plumb_golden_check(g, c, "gradient", i, t, b.dlogp[i], grad[i]);
    }
    sum /= plumb_golden_option(c, "num_items_in_batch", fmax(trained, 1));
    plumb_golden_check(g, c, "loss", 0, t, sum, *expected);
}

static void check_member(const char *member, const char *loss)
{
    struct plumb_golden g;
    if (!plumb_golden_open(&g, member)) return;
    for (; g.run < g.count; g.run++) {
        check_case(&g, plumb_golden_case(&g, g.run), loss, &plumb_ref);
        check_case(&g, plumb_golden_case(&g, g.run), loss, plumb_test_device());
    }
    plumb_golden_close(&g);
}

Test(supervised, agrees_with_published_implementations)
{
    check_member("supervised/nll", "nll");
    check_member("supervised/dft", "dft");
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
        cr_expect_eq(b.dlogp[0], id == PLUMB_SUPERVISED_NLL ? -0.5 : (double)-expf(-2) / 2);
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

Test(supervised, names_the_argument_that_is_wrong)
{
    enum { CASES = 6 };
    float v[1] = { -1 }, o[1];
    const struct plumb_supervised good = { .struct_bytes = sizeof good,
                                           .M = 1,
                                           .logp = { v, PLUMB_F32 },
                                           .losses = { o, PLUMB_F32 },
                                           .divisor = 1 };
    struct plumb_supervised bad[CASES];
    static const char *const word[CASES] = { "loss=-1",      "M=-1",          "logp is missing",
                                             "divisor=-inf", "weight cannot", "losses is missing" };
    cr_assert_eq(plumb_supervised(&plumb_cpu, &good), PLUMB_OK, "%s", plumb_errmsg());
    for (int i = 0; i < CASES; i++)
        bad[i] = good;
    bad[0].loss = (enum plumb_supervised_loss)plumb_supervised_find("nil");
    bad[1].M = -1;
    bad[2].logp.data = NULL;
    bad[3].divisor = -INFINITY;
    bad[4].weight = (struct plumb_tensor){ v, PLUMB_I32 };
    bad[5].losses.data = NULL;
    for (int i = 0; i < CASES; i++) {
        cr_expect_eq(plumb_supervised(&plumb_cpu, &bad[i]), PLUMB_EINVAL, "case %d", i);
        cr_expect(strstr(plumb_errmsg(), word[i]), "case %d, message was: %s", i, plumb_errmsg());
    }
}
