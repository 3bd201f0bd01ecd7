#include <plumb/whiten.h>

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/tensor.h"

enum { MAX = 9000 };

static void moments_of(const struct plumb_device *dev, int64_t M, const int32_t *counted,
                       const double *x, double *out)
{
    const enum plumb_dtype t = dev->kind == PLUMB_DEV_REF ? PLUMB_F64 : PLUMB_F32;
    const size_t set = PLUMB_MOMENTS * sizeof(double);
    struct plumb_moments a = { .struct_bytes = sizeof a,
                               .M = M,
                               .x = plumb_test_tensor(t, M, x),
                               .moments = out };
    if (counted) a.counted = plumb_test_copy(dev, counted, (size_t)M * sizeof *counted);
    const size_t bytes = plumb_moments_workspace(dev, &a);
    void *work = calloc(1, bytes + 1);
    a.work.data = work;
    plumb_test_to(dev, &a.x, M);
    struct plumb_test_array list[] = { { &a.moments, set }, { &a.work.data, bytes } };
    plumb_test_arrays_to(dev, list, 2);
    cr_assert_eq(plumb_moments(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
    plumb_test_arrays_back(dev, list, 2);
    plumb_test_from(dev, &a.x, M);
    plumb_test_free(&a.x);
    free(work);
}

static void whitened(const struct plumb_device *dev, const struct plumb_whiten *call,
                     const double *x, double *y)
{
    const enum plumb_dtype t = dev->kind == PLUMB_DEV_REF ? PLUMB_F64 : PLUMB_F32;
    struct plumb_whiten a = *call;
    a.struct_bytes = sizeof a;
    a.x = plumb_test_tensor(t, a.M, x), a.y = plumb_test_tensor(t, a.M, NULL);
    a.moments = plumb_test_copy(dev, a.moments, PLUMB_MOMENTS * sizeof(double));
    if (a.counted) a.counted = plumb_test_copy(dev, a.counted, (size_t)a.M * sizeof *a.counted);
    plumb_test_to(dev, &a.x, a.M), plumb_test_to(dev, &a.y, a.M);
    cr_assert_eq(plumb_whiten(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
    plumb_test_from(dev, &a.x, a.M), plumb_test_from(dev, &a.y, a.M);
    for (int64_t m = 0; m < a.M; m++)
        y[m] = plumb_test_get(&a.y, m);
    plumb_test_free(&a.x), plumb_test_free(&a.y);
}

Test(whiten, moments_that_a_hand_can_compute)
{
    const double x[5] = { 1, NAN, 0, 5, 2 };
    const int32_t counted[5] = { 1, 0, 1, 1, 1 };
    double m[PLUMB_MOMENTS];
    moments_of(plumb_test_device(), 5, counted, x, m);
    cr_expect(m[0] == 4 && m[1] == 2 && m[2] == 14 && m[3] == 3);
}

/* A large middle costs no digits of the distances. */
Test(whiten, moments_of_parts_merge_to_those_of_the_whole)
{
    static double x[MAX];
    double whole[PLUMB_MOMENTS], parts[3][PLUMB_MOMENTS], merged[PLUMB_MOMENTS];
    for (int i = 0; i < MAX; i++)
        x[i] = 4096 + 0.125 * ((i * 37) % 101);
    const struct plumb_device *dev = plumb_test_device();
    moments_of(dev, MAX, NULL, x, whole);
    moments_of(dev, 5000, NULL, x, parts[0]);
    moments_of(dev, 0, NULL, x, parts[1]);
    moments_of(dev, MAX - 5000, NULL, x + 5000, parts[2]);
    struct plumb_moments_merge a = { .struct_bytes = sizeof a,
                                     .K = 3,
                                     .parts = parts[0],
                                     .moments = merged };
    struct plumb_test_array list[] = { { &a.parts, sizeof parts }, { &a.moments, sizeof merged } };
    plumb_test_arrays_to(dev, list, 2);
    cr_assert_eq(plumb_moments_merge(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
    plumb_test_arrays_back(dev, list, 2);
    for (int k = 0; k < PLUMB_MOMENTS; k++)
        cr_expect_float_eq(merged[k] / whole[k], 1, 1e-13);
}

Test(whiten, whitened_values_have_mean_0_and_variance_1)
{
    static double x[MAX], y[MAX];
    static int32_t counted[MAX];
    double m[PLUMB_MOMENTS], after[PLUMB_MOMENTS];
    for (int i = 0; i < MAX; i++)
        x[i] = 7 + 0.5 * ((i * 37) % 101), counted[i] = i % 5 > 0;
    moments_of(&plumb_ref, MAX, counted, x, m);
    whitened(&plumb_ref, &(struct plumb_whiten){ .M = MAX, .counted = counted, .moments = m }, x,
             y);
    moments_of(&plumb_ref, MAX, counted, y, after);
    cr_expect_float_eq(after[1], 0, 1e-12);
    cr_expect_float_eq(after[2] / (after[0] - 1), 1, 1e-12);
    cr_expect_eq(y[5], 0); /* left out */
}

Test(whiten, equal_values_and_single_ones_give_0_or_their_mean)
{
    const double x[3] = { 2.5, 2.5, 2.5 };
    double m[PLUMB_MOMENTS], y[3];
    for (int64_t n = 1; n <= 3; n += 2) {
        moments_of(plumb_test_device(), n, NULL, x, m);
        struct plumb_whiten a = { .M = n, .moments = m };
        whitened(plumb_test_device(), &a, x, y);
        cr_expect_eq(y[0], 0);
        a.keep_mean = true, a.root_epsilon = 1e-8;
        whitened(plumb_test_device(), &a, x, y);
        cr_expect_eq(y[0], 2.5);
    }
}

Test(whiten, limits_hold_and_nan_is_not_hidden)
{
    const double x[4] = { -100, 0, 1, 100 };
    double m[PLUMB_MOMENTS] = { 4, 0.25, 3, 4 }, y[4];
    const struct plumb_whiten a = { .M = 4, .moments = m, .limit = 2 };
    whitened(plumb_test_device(), &a, x, y);
    cr_expect(y[0] == -2 && y[1] == -0.25 && y[2] == 0.75 && y[3] == 2);
    m[1] = NAN;
    whitened(plumb_test_device(), &a, x, y);
    cr_expect(isnan(y[0]) && isnan(y[1]));
}

Test(whiten, names_the_argument_that_is_wrong)
{
    float v[1] = { 1 };
    double m[PLUMB_MOMENTS] = { 1, 1, 0, 1 };
    const struct plumb_whiten good = { .struct_bytes = sizeof good,
                                       .M = 1,
                                       .x = { v, PLUMB_F32 },
                                       .y = { v, PLUMB_F32 },
                                       .moments = m };
    struct plumb_whiten bad[4] = { good, good, good, good };
    static const char *const word[4] = { "moments is missing", "epsilon=-1", "y is missing",
                                         "limit=nan" };
    cr_assert_eq(plumb_whiten(&plumb_cpu, &good), PLUMB_OK, "%s", plumb_errmsg());
    bad[0].moments = NULL;
    bad[1].epsilon = -1;
    bad[2].y.data = NULL;
    bad[3].limit = NAN;
    for (int i = 0; i < 4; i++) {
        cr_expect_eq(plumb_whiten(&plumb_cpu, &bad[i]), PLUMB_EINVAL, "case %d", i);
        cr_expect(strstr(plumb_errmsg(), word[i]), "case %d, message was: %s", i, plumb_errmsg());
    }
    struct plumb_moments a = { .struct_bytes = sizeof a, .M = 1, .x = good.x, .moments = m };
    cr_expect_eq(plumb_moments(&plumb_cpu, &a), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), "work is missing"));
    const struct plumb_moments_merge b = { .struct_bytes = sizeof b, .K = 2, .moments = m };
    cr_expect_eq(plumb_moments_merge(&plumb_cpu, &b), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), "parts is missing"));
}
