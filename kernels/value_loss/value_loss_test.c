#include <plumb/value.h>

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "tests/tensor.h"

enum { MAX = 64 };

struct batch {
    int64_t B;
    int32_t offset[MAX + 1], target[MAX];
    double value[MAX], old[MAX], returns[MAX], losses[MAX], clipped[MAX], dvalue[MAX];
};

static void token(struct batch *b, double value, double old, double returns)
{
    const int32_t t = b->offset[b->B]++;
    cr_assert_lt(t, MAX);
    b->value[t] = value, b->old[t] = old, b->returns[t] = returns;
}

static void append(struct batch *b)
{
    cr_assert_lt(b->B, MAX);
    b->B++;
    b->offset[b->B] = b->offset[b->B - 1];
}

static void run(const struct plumb_device *dev, struct plumb_value_loss a, struct batch *b)
{
    const enum plumb_dtype t = dev->kind == PLUMB_DEV_REF ? PLUMB_F64 : PLUMB_F32;
    const int64_t M = b->offset[b->B];
    a.struct_bytes = sizeof a, a.B = b->B;
    a.offset = plumb_test_copy(dev, b->offset, sizeof b->offset);
    if (a.target) a.target = plumb_test_copy(dev, b->target, sizeof b->target);
    struct {
        struct plumb_tensor *at;
        int64_t count;
        double *in, *out;
    } all[] = { { &a.value, M, b->value, NULL },        { &a.old_value, M, b->old, NULL },
                { &a.returns, M, b->returns, NULL },    { &a.losses, b->B, NULL, b->losses },
                { &a.clipped, b->B, NULL, b->clipped }, { &a.dvalue, M, NULL, b->dvalue } };
    for (int i = 0; i < 6; i++) {
        *all[i].at = plumb_test_tensor(t, all[i].count, all[i].in);
        plumb_test_to(dev, all[i].at, all[i].count);
    }
    cr_assert_eq(plumb_value_loss(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
    for (int i = 0; i < 6; i++) {
        plumb_test_from(dev, all[i].at, all[i].count);
        for (int64_t k = 0; all[i].out && k < all[i].count; k++)
            all[i].out[k] = plumb_test_get(all[i].at, k);
        plumb_test_free(all[i].at);
    }
}

/* V_old 0, clip 0.5: within it the plain error; beyond it the larger, the clipped one without a
 * slope. */
Test(value_loss, a_clip_keeps_the_larger_error_and_counts_it)
{
    static const double v[4] = { 0.25, 1, 1, -1 }, g[4] = { 1, 0, 0.875, -3 };
    static const double loss[4] = { 0.28125, 0.5, 0.0703125, 3.125 };
    static const double slope[4] = { -0.75, 1, 0, 0 };
    struct batch b = { 0 };
    for (int i = 0; i < 4; i++) {
        append(&b);
        token(&b, v[i], 0, g[i]);
    }
    run(plumb_test_device(), (struct plumb_value_loss){ .cliprange = 0.5, .divisor = 1 }, &b);
    for (int i = 0; i < 4; i++) {
        cr_expect_eq(b.losses[i], loss[i]);
        cr_expect_eq(b.dvalue[i], slope[i]);
        cr_expect_eq(b.clipped[i], i >= 2);
    }
}

Test(value_loss, without_a_clip_it_is_half_the_squared_error_whatever_the_old_values)
{
    struct batch b = { 0 };
    append(&b);
    for (int i = 0; i < 8; i++)
        token(&b, 0.5 * i, NAN, 1);
    run(plumb_test_device(),
        (struct plumb_value_loss){ .aggregation = PLUMB_AGGREGATE_ROW_MEANS, .divisor = 2 }, &b);
    double sum = 0;
    for (int i = 0; i < 8; i++) {
        sum += (0.5 * i - 1) * (0.5 * i - 1) / 2;
        cr_expect_eq(b.dvalue[i], (0.5 * i - 1) / 16);
    }
    cr_expect_eq(b.losses[0], sum / 8);
    cr_expect_eq(b.clipped[0], 0);
}

Test(value_loss, what_is_skipped_or_empty_counts_nowhere_and_nan_is_not_hidden)
{
    struct batch b = { 0 };
    append(&b);
    append(&b);
    token(&b, NAN, NAN, NAN);
    token(&b, 2, 0, 1);
    append(&b);
    token(&b, NAN, 0, 1);
    b.target[0] = -1, b.target[1] = b.target[2] = 4;
    struct plumb_value_loss a = { .aggregation = PLUMB_AGGREGATE_ROW_MEANS, .divisor = 1 };
    a.target = b.target;
    run(plumb_test_device(), a, &b);
    cr_expect(b.losses[0] == 0 && b.losses[1] == 0.5 && isnan(b.losses[2]));
    cr_expect(b.dvalue[0] == 0 && b.dvalue[1] == 1 && isnan(b.dvalue[2]));
    a.divisor = 0;
    run(plumb_test_device(), a, &b);
    cr_expect(b.dvalue[1] == 0 && b.losses[1] == 0.5);
}

Test(value_loss, huge_errors_saturate)
{
    struct batch b = { 0 };
    append(&b);
    token(&b, 3e38, -3e38, -3e38);
    token(&b, 1e20, 0, 0);
    run(plumb_test_device(), (struct plumb_value_loss){ .cliprange = 1, .divisor = 1e-3 }, &b);
    cr_expect(isfinite(b.losses[0]) && b.losses[0] > 1e38);
    cr_expect(isfinite(b.dvalue[0]) && isfinite(b.dvalue[1]));
}

Test(value_loss, names_the_argument_that_is_wrong)
{
    enum { CASES = 7 };
    const int32_t offset[2] = { 0, 1 };
    float v[1] = { 1 }, o[1];
    const struct plumb_tensor in = { v, PLUMB_F32 };
    const struct plumb_value_loss good = { .struct_bytes = sizeof good,
                                           .B = 1,
                                           .offset = offset,
                                           .value = in,
                                           .returns = in,
                                           .losses = { o, PLUMB_F32 },
                                           .divisor = 1 };
    struct plumb_value_loss bad[CASES];
    static const char *const word[CASES] = { "aggregation=2",     "offset is missing",
                                             "cliprange=nan",     "divisor=-1",
                                             "old_value is miss", "returns is missing",
                                             "losses is missing" };
    cr_assert_eq(plumb_value_loss(&plumb_cpu, &good), PLUMB_OK, "%s", plumb_errmsg());
    for (int i = 0; i < CASES; i++)
        bad[i] = good;
    bad[0].aggregation = PLUMB_AGGREGATE_ROWS;
    bad[1].offset = NULL;
    bad[2].cliprange = NAN;
    bad[3].divisor = -1;
    bad[4].cliprange = 0.2;
    bad[5].returns.data = NULL;
    bad[6].losses.data = NULL;
    for (int i = 0; i < CASES; i++) {
        cr_expect_eq(plumb_value_loss(&plumb_cpu, &bad[i]), PLUMB_EINVAL, "case %d", i);
        cr_expect(strstr(plumb_errmsg(), word[i]), "case %d, message was: %s", i, plumb_errmsg());
    }
}
