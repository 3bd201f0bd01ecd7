#include <plumb/reduce.h>

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "tests/tensor.h"

/* One direction of segsum on the device under test. */
static int run(int op(const struct plumb_device *, const struct plumb_segsum *),
               const struct plumb_segsum *call)
{
    const struct plumb_device *dev = plumb_test_device();
    struct plumb_segsum a = *call;
    const size_t longer = (size_t)a.M * sizeof(float), shorter = (size_t)a.R * sizeof(float);
    struct plumb_test_array list[] = { { &a.offset, (size_t)(a.R + 1) * sizeof *a.offset },
                                       { &a.x.data, longer },
                                       { &a.dx.data, longer },
                                       { &a.y.data, shorter },
                                       { &a.dy.data, shorter } };
    plumb_test_arrays_to(dev, list, 5);
    const int rc = op(dev, &a);
    plumb_test_arrays_back(dev, list, 5);
    return rc;
}

Test(reduce, empty_runs_give_zero_and_gaps_are_not_written)
{
    float x[6] = { 1, 2, 4, 8, 16, 32 }, y[3], dy[3] = { 5, 6, 9 }, dx[6];
    const int32_t offset[4] = { 1, 3, 3, 5 };
    struct plumb_segsum a = { .struct_bytes = sizeof a,
                              .M = 6,
                              .R = 3,
                              .offset = offset,
                              .x = { x, PLUMB_F32 },
                              .y = { y, PLUMB_F32 },
                              .dy = { dy, PLUMB_F32 },
                              .dx = { dx, PLUMB_F32 } };
    cr_assert_eq(run(plumb_segsum_fwd, &a), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect(y[0] == 6 && y[1] == 0 && y[2] == 24);
    a.mean = true;
    cr_assert_eq(run(plumb_segsum_fwd, &a), PLUMB_OK);
    cr_expect(y[0] == 3 && y[1] == 0 && y[2] == 12);
    dx[0] = dx[5] = -1;
    cr_assert_eq(run(plumb_segsum_bwd, &a), PLUMB_OK);
    cr_expect(dx[0] == -1 && dx[1] == 2.5f && dx[2] == 2.5f && dx[3] == 4.5f && dx[4] == 4.5f &&
              dx[5] == -1);
}

/* 0.5^t: 1 + 2/2 + 4/4 = 3; the first element of a run counts whole wherever it lies. */
Test(reduce, a_discount_counts_from_the_start_of_each_run)
{
    float x[6] = { 9, 1, 2, 4, 6, 8 }, y[2], dy[2] = { 8, -4 }, dx[6];
    const int32_t offset[3] = { 1, 4, 6 };
    const struct plumb_segsum a = { .struct_bytes = sizeof a,
                                    .M = 6,
                                    .R = 2,
                                    .offset = offset,
                                    .scale = 2,
                                    .discount = 0.5,
                                    .x = { x, PLUMB_F32 },
                                    .y = { y, PLUMB_F32 },
                                    .dy = { dy, PLUMB_F32 },
                                    .dx = { dx, PLUMB_F32 } };
    cr_assert_eq(run(plumb_segsum_fwd, &a), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect(y[0] == 6 && y[1] == 20, "%g %g", (double)y[0], (double)y[1]);
    cr_assert_eq(run(plumb_segsum_bwd, &a), PLUMB_OK);
    cr_expect(dx[1] == 16 && dx[2] == 8 && dx[3] == 4 && dx[4] == -8 && dx[5] == -4);
}

/* f32 would lose every 1 beside 2^25; f64 keeps them and rounds once. */
Test(reduce, runs_are_summed_in_f64)
{
    enum { N = 4097 };
    float x[N], y[1];
    const int32_t offset[2] = { 0, N };
    x[0] = 0x1p25f;
    for (int i = 1; i < N; i++)
        x[i] = 1;
    const struct plumb_segsum a = { .struct_bytes = sizeof a,
                                    .M = N,
                                    .R = 1,
                                    .offset = offset,
                                    .x = { x, PLUMB_F32 },
                                    .y = { y, PLUMB_F32 } };
    cr_assert_eq(run(plumb_segsum_fwd, &a), PLUMB_OK);
    cr_expect(y[0] == 0x1p25f + 4096);
}

/* Numbers of many magnitudes that cancel: what is left of them in f64 depends on the order. */
Test(reduce, a_runs_bits_ignore_where_it_lies)
{
    enum { LENGTH = 2800, STARTS = 9 };
    static float x[LENGTH + STARTS];
    float first = 0;
    for (int32_t start = 0; start < STARTS; start++) {
        float y[1];
        const int32_t offset[2] = { start, start + LENGTH };
        for (int i = 0; i < LENGTH / 2; i++) {
            const float v = (float)ldexp(sin(i + 0.5), i % 97 - 40);
            x[start + i] = v;
            x[start + LENGTH / 2 + i * 37 % (LENGTH / 2)] = -v;
        }
        const struct plumb_segsum a = { .struct_bytes = sizeof a,
                                        .M = LENGTH + STARTS,
                                        .R = 1,
                                        .offset = offset,
                                        .x = { x, PLUMB_F32 },
                                        .y = { y, PLUMB_F32 } };
        cr_assert_eq(run(plumb_segsum_fwd, &a), PLUMB_OK, "%s", plumb_errmsg());
        if (start == 0) first = y[0];
        cr_expect(y[0] != 0, "nothing was rounded");
        cr_expect(y[0] == first, "at %d: %.9g, not %.9g", (int)start, (double)y[0], (double)first);
    }
}

/* A device has no way to refuse what lies in its own memory. */
Test(reduce, wrong_offsets_give_nan_on_a_device_and_write_nothing)
{
    if (plumb_test_device()->kind != PLUMB_DEV_CUDA) cr_skip_test("offsets are read by the host");
    const int32_t wrong[3][3] = { { -1, 2, 3 }, { 0, 3, 2 }, { 0, 3, 5 } };
    for (int k = 0; k < 3; k++) {
        float x[4] = { 1, 2, 3, 4 }, y[2], dy[2] = { 5, 6 }, dx[4] = { -1, -1, -1, -1 };
        const struct plumb_segsum a = { .struct_bytes = sizeof a,
                                        .M = 4,
                                        .R = 2,
                                        .offset = wrong[k],
                                        .x = { x, PLUMB_F32 },
                                        .y = { y, PLUMB_F32 },
                                        .dy = { dy, PLUMB_F32 },
                                        .dx = { dx, PLUMB_F32 } };
        cr_assert_eq(run(plumb_segsum_fwd, &a), PLUMB_OK, "%s", plumb_errmsg());
        cr_expect(isnan(y[0]) && isnan(y[1]));
        cr_assert_eq(run(plumb_segsum_bwd, &a), PLUMB_OK, "%s", plumb_errmsg());
        for (int i = 0; i < 4; i++)
            cr_expect(dx[i] == -1);
    }
}

static void refused(const int32_t *offset, const char *why)
{
    float x[4] = { 0 };
    const struct plumb_segsum a = { .struct_bytes = sizeof a,
                                    .M = 4,
                                    .R = 2,
                                    .offset = offset,
                                    .x = { x, PLUMB_F32 },
                                    .y = { x, PLUMB_F32 } };
    cr_expect_eq(plumb_segsum_fwd(&plumb_cpu, &a), PLUMB_EINVAL, "accepted, wanted \"%s\"", why);
    cr_expect(strstr(plumb_errmsg(), why), "message was: %s", plumb_errmsg());
}

Test(reduce, refuses_offsets_that_leave_the_vector)
{
    refused((const int32_t[]){ -1, 2, 3 }, "offset[0]=-1");
    refused((const int32_t[]){ 0, 3, 2 }, "offset[2]=2 is below offset[1]=3");
    refused((const int32_t[]){ 0, 3, 5 }, "past M=4");
    refused(NULL, "offset is missing");
}

/* Small integers: every order of summation is exact. */
Test(reduce, columns_add_to_what_is_there)
{
    enum { N = 300, D = 5, LD = 7 };
    static float x[N * LD];
    float y[D], work[D * 3];
    for (int i = 0; i < N * LD; i++)
        x[i] = (float)(i % 11);
    for (int d = 0; d < D; d++)
        y[d] = 1000;
    struct plumb_colsum a = { .struct_bytes = sizeof a,
                              .N = N,
                              .D = D,
                              .ldx = LD,
                              .x = { x, PLUMB_F32 },
                              .y = { y, PLUMB_F32 },
                              .work = { work, PLUMB_F32 } };
    const struct plumb_device *dev = plumb_test_device();
    struct plumb_test_array list[] = { { &a.x.data, sizeof x },
                                       { &a.y.data, sizeof y },
                                       { &a.work.data, sizeof work } };
    cr_assert_leq(plumb_colsum_workspace(dev, &a), sizeof work);
    plumb_test_arrays_to(dev, list, 3);
    cr_assert_eq(plumb_colsum(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
    plumb_test_arrays_back(dev, list, 3);
    for (int d = 0; d < D; d++) {
        float want = 1000;
        for (int n = 0; n < N; n++)
            want += (float)((n * LD + d) % 11);
        cr_expect(y[d] == want, "y[%d] is %g, not %g", d, (double)y[d], (double)want);
    }
    a.ldx = 3;
    cr_expect_eq(plumb_colsum(&plumb_cpu, &a), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), "ldx=3"), "message was: %s", plumb_errmsg());
}
