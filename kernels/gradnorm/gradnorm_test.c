#include <plumb/optim.h>

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <omp.h>
#include <string.h>

#include "tests/tensor.h"

enum { MOST = 2200000 }; /* more blocks than are merged in one round */
static float x[MOST];
static double wide[MOST], work[512];

static double norm_on(const struct plumb_device *dev, int64_t count, int64_t *bad)
{
    double norm = -1;
    struct plumb_gradnorm a = { .struct_bytes = sizeof a,
                                .count = count,
                                .x = { x, PLUMB_F32 },
                                .norm = &norm,
                                .first_bad = bad,
                                .work = { work, PLUMB_F64 } };
    cr_assert_leq(plumb_gradnorm_workspace(dev, &a), sizeof work);
    struct plumb_test_array list[] = { { .at = &a.x.data, .bytes = sizeof x },
                                       { .at = &a.norm, .bytes = sizeof norm },
                                       { .at = &a.first_bad, .bytes = sizeof *bad },
                                       { .at = &a.work.data, .bytes = sizeof work } };
    const int arrays = sizeof list / sizeof *list;
    plumb_test_arrays_to(dev, list, arrays);
    cr_assert_eq(plumb_gradnorm(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
    plumb_test_arrays_back(dev, list, arrays);
    return norm;
}

static double norm_of(int64_t count, int64_t *bad)
{
    return norm_on(plumb_test_device(), count, bad);
}

/* f64 sums of n terms: relative error under n eps, far below one step of f32. */
Test(gradnorm, agrees_with_its_oracle)
{
    for (int64_t i = 0; i < MOST; i++)
        wide[i] = (double)(x[i] = (float)(sin((double)i) * exp(sin((double)i * 0.01) * 10)));
    const int64_t counts[] = { 0, 1, 31, 32, 33, 8191, 8192, 8193, MOST };
    for (int k = 0; k < 9; k++) {
        double truth = 0;
        int64_t bad = 7;
        const struct plumb_gradnorm r = { .struct_bytes = sizeof r,
                                          .count = counts[k],
                                          .x = { wide, PLUMB_F64 },
                                          .norm = &truth };
        plumb_gradnorm_ref(&r, PLUMB_F64);
        const double norm = norm_of(counts[k], &bad);
        cr_expect(fabs(norm - truth) <= (double)counts[k] * DBL_EPSILON * truth, "%g, not %g", norm,
                  truth);
        cr_expect_eq(bad, -1);
    }
}

Test(gradnorm, has_the_same_bits_on_every_device_and_number_of_threads)
{
    for (int64_t i = 0; i < MOST; i++)
        x[i] = (float)sin((double)i * 0.7);
    omp_set_num_threads(1);
    const double one = norm_of(MOST, NULL);
    omp_set_num_threads(3);
    cr_expect_eq(norm_of(MOST, NULL), one);
    cr_expect_eq(norm_on(&plumb_cpu, MOST, NULL), one);
}

Test(gradnorm, huge_and_tiny_gradients_neither_overflow_nor_vanish)
{
    x[0] = 3e38f, x[1] = -3e38f;
    cr_expect_float_eq(norm_of(2, NULL) / (3e38 * sqrt(2)), 1, 2e-7);
    x[0] = 3e-30f, x[1] = 4e-30f;
    cr_expect_float_eq(norm_of(2, NULL) / 5e-30, 1, 2e-7);
}

Test(gradnorm, names_the_first_element_that_is_not_finite)
{
    int64_t bad = -1;
    x[50000] = NAN, x[70000] = INFINITY;
    cr_expect(!isfinite(norm_of(MOST, &bad)));
    cr_expect_eq(bad, 50000);
    x[50000] = 0;
    cr_expect(isinf(norm_of(MOST, &bad)));
    cr_expect_eq(bad, 70000);
}

/* torch.nn.utils.clip_grad_norm_: max_norm / (norm + 1e-6), at most 1. */
Test(gradnorm, clips_as_torch)
{
    cr_expect_eq(plumb_clip_factor(0.5, 1), 1);
    cr_expect_eq(plumb_clip_factor(4, 1), 1 / (4 + 1e-6));
    cr_expect_eq(plumb_clip_factor(1, 1), 1 / (1 + 1e-6));
    cr_expect_eq(plumb_clip_factor(0, 1), 1);
    cr_expect_eq(plumb_clip_factor(100, 0), 1);
    cr_expect_eq(plumb_clip_factor(INFINITY, 1), 0);
    cr_expect(isnan(plumb_clip_factor(NAN, 1)));
}

Test(gradnorm, asks_for_what_is_missing)
{
    struct plumb_gradnorm a = { .struct_bytes = sizeof a, .count = 2, .x = { x, PLUMB_F32 } };
    cr_expect_eq(plumb_gradnorm(&plumb_cpu, &a), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), "norm is missing"), "message was: %s", plumb_errmsg());
}
