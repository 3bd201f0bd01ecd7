#include <plumb/reduce.h>

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

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
    cr_assert_eq(plumb_segsum_fwd(&plumb_cpu, &a), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect(y[0] == 6 && y[1] == 0 && y[2] == 24);
    a.mean = true;
    cr_assert_eq(plumb_segsum_fwd(&plumb_cpu, &a), PLUMB_OK);
    cr_expect(y[0] == 3 && y[1] == 0 && y[2] == 12);
    dx[0] = dx[5] = -1;
    cr_assert_eq(plumb_segsum_bwd(&plumb_cpu, &a), PLUMB_OK);
    cr_expect(dx[0] == -1 && dx[1] == 2.5f && dx[2] == 2.5f && dx[3] == 4.5f && dx[4] == 4.5f &&
              dx[5] == -1);
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
    cr_assert_eq(plumb_segsum_fwd(&plumb_cpu, &a), PLUMB_OK);
    cr_expect(y[0] == 0x1p25f + 4096);
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
    cr_assert_leq(plumb_colsum_workspace(&plumb_cpu, &a), sizeof work);
    cr_assert_eq(plumb_colsum(&plumb_cpu, &a), PLUMB_OK, "%s", plumb_errmsg());
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
