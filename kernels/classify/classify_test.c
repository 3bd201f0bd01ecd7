#include <plumb/classify.h>

#include <criterion/criterion.h>
#include <math.h>
#include <plumb/device.h>
#include <plumb/pointwise.h>
#include <string.h>

#include "tests/tensor.h"

enum { MAX = 64 };

struct batch {
    int64_t N, K;
    int32_t label[MAX];
    double logits[MAX], losses[MAX], dlogits[MAX];
};

static int run(const struct plumb_device *dev, int id, struct batch *b)
{
    const enum plumb_dtype t = dev->kind == PLUMB_DEV_REF ? PLUMB_F64 : PLUMB_F32;
    const int64_t count = b->N * b->K;
    struct plumb_classify a = { .struct_bytes = sizeof a,
                                .loss = (enum plumb_classify_loss)id,
                                .N = b->N,
                                .K = b->K,
                                .logits = plumb_test_tensor(t, count, b->logits),
                                .label = plumb_test_copy(dev, b->label, sizeof b->label),
                                .divisor = 2,
                                .losses = plumb_test_tensor(t, b->N, NULL),
                                .dlogits = plumb_test_tensor(t, count, NULL) };
    struct plumb_tensor *all[] = { &a.logits, &a.losses, &a.dlogits };
    const int64_t size[] = { count, b->N, count };
    for (int i = 0; i < 3; i++)
        plumb_test_to(dev, all[i], size[i]);
    const int rc = plumb_classify(dev, &a);
    for (int i = 0; i < 3; i++)
        plumb_test_from(dev, all[i], size[i]);
    for (int64_t i = 0; i < b->N; i++)
        b->losses[i] = plumb_test_get(&a.losses, i);
    for (int64_t i = 0; i < count; i++)
        b->dlogits[i] = plumb_test_get(&a.dlogits, i);
    for (int i = 0; i < 3; i++)
        plumb_test_free(all[i]);
    return rc;
}

Test(classify, equal_logits_lose_ln_k)
{
    struct batch b = { 2, 4, { 1, 3 }, { 0 }, { 0 }, { 0 } };
    cr_assert_eq(run(plumb_test_device(), PLUMB_CLASSIFY_SOFTMAX, &b), PLUMB_OK);
    cr_expect_float_eq(b.losses[0], log(4), 1e-6);
    cr_expect(b.dlogits[0] == 0.125 && b.dlogits[1] == -0.375 && b.dlogits[7] == -0.375);
}

/* An ordinal head of one threshold is a logistic one; of K, the sum of K. */
Test(classify, an_ordinal_head_is_a_sum_of_logistic_ones)
{
    struct batch b = { 4, 3, { 0, 1, 2, 3 }, { 0 }, { 0 }, { 0 } };
    for (int i = 0; i < 12; i++)
        b.logits[i] = 0.75 * (i % 5) - 1.5;
    cr_assert_eq(run(&plumb_ref, PLUMB_CLASSIFY_ORDINAL, &b), PLUMB_OK);
    for (int n = 0; n < 4; n++) {
        double target[3], losses[3], dscore[3], sum = 0;
        for (int k = 0; k < 3; k++)
            target[k] = b.label[n] > k;
        const struct plumb_pointwise one = { .struct_bytes = sizeof one,
                                             .loss = PLUMB_POINTWISE_BCE,
                                             .N = 3,
                                             .score = { &b.logits[3 * n], PLUMB_F64 },
                                             .target = { target, PLUMB_F64 },
                                             .pos_weight = 1,
                                             .divisor = 2,
                                             .losses = { losses, PLUMB_F64 },
                                             .dscore = { dscore, PLUMB_F64 } };
        cr_assert_eq(plumb_pointwise(&plumb_ref, &one), PLUMB_OK);
        for (int k = 0; k < 3; k++) {
            sum += losses[k];
            cr_expect_float_eq(b.dlogits[3 * n + k], dscore[k], 1e-15);
        }
        cr_expect_float_eq(b.losses[n], sum, 1e-14);
    }
}

Test(classify, an_ignored_row_counts_nothing_and_nan_stays_in_its_row)
{
    for (int id = 0; plumb_classify_name(id); id++) {
        struct batch b = { 3, 2, { -1, 1, 1 }, { NAN, 1, NAN, 0, 2, -2 }, { 0 }, { 0 } };
        cr_assert_eq(run(plumb_test_device(), id, &b), PLUMB_OK);
        cr_expect(b.losses[0] == 0 && b.dlogits[0] == 0 && b.dlogits[1] == 0);
        cr_expect(isnan(b.losses[1]) && isnan(b.dlogits[2]));
        cr_expect(isfinite(b.losses[2]) && isfinite(b.dlogits[4]));
    }
}

Test(classify, far_logits_keep_small_losses_and_saturate_finitely)
{
    for (int id = 0; plumb_classify_name(id); id++) {
        struct batch b = { 3, 2, { 0, 1, 0 }, { 40, 0, 3e38, -3e38, -200, 200 }, { 0 }, { 0 } };
        cr_assert_eq(run(plumb_test_device(), id, &b), PLUMB_OK);
        for (int n = 0; n < 3; n++)
            cr_expect(isfinite(b.losses[n]) && isfinite(b.dlogits[2 * n]));
        if (id == PLUMB_CLASSIFY_SOFTMAX) {
            cr_expect_float_eq(b.losses[0] / exp(-40), 1, 1e-5);
            cr_expect_float_eq(b.dlogits[0] / exp(-40), -0.5, 1e-5);
            cr_expect_eq(b.losses[2], 400);
        }
    }
}

Test(classify, a_label_that_is_none_is_refused_or_nan)
{
    const struct plumb_device *dev = plumb_test_device();
    struct batch b = { 2, 3, { 3, 2 }, { 0 }, { 0 }, { 0 } };
    cr_expect_eq(run(dev, PLUMB_CLASSIFY_ORDINAL, &b), PLUMB_OK); /* passes all thresholds */
    const int rc = run(dev, PLUMB_CLASSIFY_SOFTMAX, &b);
    if (plumb_device_is_host(dev)) {
        cr_expect_eq(rc, PLUMB_EINVAL);
        cr_expect(strstr(plumb_errmsg(), "label[0]=3"), "message was: %s", plumb_errmsg());
        return;
    }
    cr_expect(isnan(b.losses[0]) && isnan(b.dlogits[0]) && isfinite(b.losses[1]));
}

Test(classify, names_the_argument_that_is_wrong)
{
    enum { CASES = 6 };
    float v[2] = { 1, 0 }, o[1];
    const int32_t label[1] = { 0 };
    const struct plumb_classify good = { .struct_bytes = sizeof good,
                                         .N = 1,
                                         .K = 2,
                                         .logits = { v, PLUMB_F32 },
                                         .label = label,
                                         .losses = { o, PLUMB_F32 },
                                         .divisor = 1 };
    struct plumb_classify bad[CASES];
    static const char *const word[CASES] = { "loss=9",           "K=257",     "N=-1",
                                             "label is missing", "divisor=0", "dlogits cannot" };
    cr_assert_eq(plumb_classify(&plumb_cpu, &good), PLUMB_OK, "%s", plumb_errmsg());
    for (int i = 0; i < CASES; i++)
        bad[i] = good;
    bad[0].loss = (enum plumb_classify_loss)9;
    bad[1].K = 257;
    bad[2].N = -1;
    bad[3].label = NULL;
    bad[4].divisor = 0;
    bad[5].dlogits = (struct plumb_tensor){ v, PLUMB_BF16 };
    for (int i = 0; i < CASES; i++) {
        cr_expect_eq(plumb_classify(&plumb_cpu, &bad[i]), PLUMB_EINVAL, "case %d", i);
        cr_expect(strstr(plumb_errmsg(), word[i]), "case %d, message was: %s", i, plumb_errmsg());
    }
}
