#include <plumb/pointwise.h>

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "tests/tensor.h"

enum { MAX = 64 };

struct batch {
    int64_t N;
    double score[MAX], target[MAX], weight[MAX], losses[MAX], dscore[MAX];
};

static void append(struct batch *b, double score, double target, double weight)
{
    cr_assert_lt(b->N, MAX);
    b->score[b->N] = score, b->target[b->N] = target, b->weight[b->N++] = weight;
}

static void run(const struct plumb_device *dev, int id, double pos_weight, struct batch *b)
{
    const enum plumb_dtype t = dev->kind == PLUMB_DEV_REF ? PLUMB_F64 : PLUMB_F32;
    struct plumb_pointwise a = { .struct_bytes = sizeof a,
                                 .loss = (enum plumb_pointwise_loss)id,
                                 .N = b->N,
                                 .score = plumb_test_tensor(t, b->N, b->score),
                                 .target = plumb_test_tensor(t, b->N, b->target),
                                 .weight = plumb_test_tensor(t, b->N, b->weight),
                                 .pos_weight = pos_weight,
                                 .divisor = 1,
                                 .losses = plumb_test_tensor(t, b->N, NULL),
                                 .dscore = plumb_test_tensor(t, b->N, NULL) };
    struct plumb_tensor *all[] = { &a.score, &a.target, &a.weight, &a.losses, &a.dscore };
    for (int i = 0; i < 5; i++)
        plumb_test_to(dev, all[i], b->N);
    cr_assert_eq(plumb_pointwise(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
    for (int i = 0; i < 5; i++)
        plumb_test_from(dev, all[i], b->N);
    for (int64_t i = 0; i < b->N; i++) {
        b->losses[i] = plumb_test_get(&a.losses, i);
        b->dscore[i] = plumb_test_get(&a.dscore, i);
    }
    for (int i = 0; i < 5; i++)
        plumb_test_free(all[i]);
}

Test(pointwise, values_that_a_hand_can_compute)
{
    struct batch b = { 0 };
    append(&b, 0, 1, 2);
    append(&b, 0, 0, 1);
    append(&b, 3, 0.5, 1);
    run(plumb_test_device(), PLUMB_POINTWISE_BCE, 3, &b);
    cr_expect_float_eq(b.losses[0], 6 * log(2), 1e-6);
    cr_expect_eq(b.dscore[0], -3);
    cr_expect_eq(b.dscore[1], 0.5);
    run(plumb_test_device(), PLUMB_POINTWISE_SQUARE, 0, &b);
    cr_expect(b.losses[0] == 2 && b.losses[2] == 6.25 && b.dscore[2] == 5);
}

Test(pointwise, a_missing_target_counts_nothing_whatever_it_holds)
{
    struct batch b = { 0 };
    append(&b, 1, NAN, 0);
    append(&b, NAN, 1, 0);
    append(&b, NAN, 1, 1);
    for (int id = 0; plumb_pointwise_name(id); id++) {
        run(plumb_test_device(), id, 1, &b);
        cr_expect(b.losses[0] == 0 && b.dscore[0] == 0 && b.losses[1] == 0 && b.dscore[1] == 0);
        cr_expect(isnan(b.losses[2]) && isnan(b.dscore[2]));
    }
}

Test(pointwise, extremes_agree_with_the_oracle_or_saturate)
{
    const double far[] = { 200, -200, 1e4, 3e38, -3e38 };
    for (int id = 0; plumb_pointwise_name(id); id++) {
        struct batch dev = { 0 }, ref;
        for (int i = 0; i < 10; i++)
            append(&dev, far[i / 2], i % 2, 1);
        ref = dev;
        run(plumb_test_device(), id, 2, &dev);
        run(&plumb_ref, id, 2, &ref);
        for (int i = 0; i < 10; i++) {
            const double loss = fmin(ref.losses[i], (double)FLT_MAX);
            const double grad = fmax(fmin(ref.dscore[i], (double)FLT_MAX), -(double)FLT_MAX);
            cr_expect(fabs(dev.losses[i] - loss) <= 8 * FLT_EPSILON * loss + FLT_MIN);
            cr_expect(fabs(dev.dscore[i] - grad) <= 8 * FLT_EPSILON * fabs(grad) + FLT_MIN);
        }
    }
}

Test(pointwise, names_the_argument_that_is_wrong)
{
    enum { CASES = 6 };
    float v[1] = { -1 }, o[1];
    const struct plumb_pointwise good = { .struct_bytes = sizeof good,
                                          .N = 1,
                                          .score = { v, PLUMB_F32 },
                                          .target = { v, PLUMB_F32 },
                                          .losses = { o, PLUMB_F32 },
                                          .pos_weight = 1,
                                          .divisor = 1 };
    struct plumb_pointwise bad[CASES];
    static const char *const word[CASES] = { "loss=-1",      "N=-1",      "target is missing",
                                             "pos_weight=0", "divisor=0", "weight cannot" };
    cr_assert_eq(plumb_pointwise(&plumb_cpu, &good), PLUMB_OK, "%s", plumb_errmsg());
    for (int i = 0; i < CASES; i++)
        bad[i] = good;
    bad[0].loss = (enum plumb_pointwise_loss)plumb_pointwise_find("bcee");
    bad[1].N = -1;
    bad[2].target.data = NULL;
    bad[3].pos_weight = 0;
    bad[4].divisor = 0;
    bad[5].weight = (struct plumb_tensor){ v, PLUMB_I32 };
    for (int i = 0; i < CASES; i++) {
        cr_expect_eq(plumb_pointwise(&plumb_cpu, &bad[i]), PLUMB_EINVAL, "case %d", i);
        cr_expect(strstr(plumb_errmsg(), word[i]), "case %d, message was: %s", i, plumb_errmsg());
    }
}
