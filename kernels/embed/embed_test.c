#include <plumb/embed.h>

#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <string.h>

#include "tests/tensor.h"

static size_t bytes_of(struct plumb_tensor t, int64_t rows, int64_t width)
{
    return (size_t)(rows * width) * plumb_dtype_bytes(t.dtype);
}

static void run(struct plumb_embed a, bool backward)
{
    const struct plumb_device *dev = plumb_test_device();
    static char work[1 << 18];
    const size_t ids = (size_t)a.N * sizeof *a.token;
    cr_assert_leq(plumb_embed_bwd_workspace(dev, &a), sizeof work);
    a.work.data = work;
    struct plumb_test_array list[] = {
        { .at = &a.token, .bytes = ids },
        { .at = &a.position, .bytes = ids },
        { .at = &a.w.data, .bytes = bytes_of(a.w, a.V, a.D) },
        { .at = &a.wpos.data, .bytes = bytes_of(a.wpos, a.P, a.D) },
        { .at = &a.y.data, .bytes = bytes_of(a.y, a.N, a.D) },
        { .at = &a.dy.data, .bytes = bytes_of(a.dy, a.N, a.D) },
        { .at = &a.dw.data, .bytes = bytes_of(a.dw, a.V, a.D) },
        { .at = &a.dwpos.data, .bytes = bytes_of(a.dwpos, a.P, a.D) },
        { .at = &a.work.data, .bytes = sizeof work },
    };
    const int arrays = sizeof list / sizeof *list;
    plumb_test_arrays_to(dev, list, arrays);
    cr_assert_eq(backward ? plumb_embed_bwd(dev, &a) : plumb_embed_fwd(dev, &a), PLUMB_OK, "%s",
                 plumb_errmsg());
    plumb_test_arrays_back(dev, list, arrays);
}

Test(embed, names_the_first_token_out_of_range)
{
    float w[6] = { 0 }, y[6];
    const int32_t token[3] = { 0, 2, 3 }, position[3] = { 0, 1, -1 };
    struct plumb_embed a = { .struct_bytes = sizeof a,
                             .N = 3,
                             .D = 2,
                             .V = 3,
                             .token = token,
                             .scale = 1,
                             .w = { w, PLUMB_F32 },
                             .y = { y, PLUMB_F32 } };
    cr_assert_eq(plumb_embed_fwd(&plumb_cpu, &a), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), "token[2]=3"), "message was: %s", plumb_errmsg());
    a.N = 2;
    cr_assert_eq(plumb_embed_fwd(&plumb_cpu, &a), PLUMB_OK);
    a.P = 2, a.wpos = a.w, a.N = 3, a.position = position, a.V = 4;
    cr_assert_eq(plumb_embed_fwd(&plumb_cpu, &a), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), "position[2]=-1"), "message was: %s", plumb_errmsg());
    a.position = NULL;
    cr_assert_eq(plumb_embed_fwd(&plumb_cpu, &a), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), "position is missing"), "message was: %s", plumb_errmsg());
    a.P = 0, a.scale = NAN;
    cr_assert_eq(plumb_embed_fwd(&plumb_cpu, &a), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), "scale"), "message was: %s", plumb_errmsg());
}

Test(embed, adds_scaled_token_and_position_rows)
{
    const float w[6] = { 1, 2, 3, 4, 5, 6 }, p[4] = { 10, 20, 30, 40 };
    const int32_t token[2] = { 2, 0 }, position[2] = { 1, 0 };
    float y[4];
    const struct plumb_embed a = { .struct_bytes = sizeof a,
                                   .N = 2,
                                   .D = 2,
                                   .V = 3,
                                   .P = 2,
                                   .token = token,
                                   .position = position,
                                   .scale = 2,
                                   .w = { (void *)w, PLUMB_F32 },
                                   .wpos = { (void *)p, PLUMB_F32 },
                                   .y = { y, PLUMB_F32 } };
    const float expected[4] = { 40, 52, 12, 24 };
    run(a, false);
    cr_expect_arr_eq(y, expected, sizeof y);
}

/* Sums like 2^24 + 1 + 1 depend on the order: index order keeps 2^24 for every number of
 * threads. */
Test(embed, backward_sums_equal_tokens_in_index_order_and_leaves_other_rows_alone)
{
    enum { D = 40, V = 4 };
    const int32_t token[4] = { 1, 3, 1, 1 };
    float dy[4 * D], dw[V * D];
    for (int d = 0; d < D; d++) {
        dy[d] = 16777216.0f;
        dy[D + d] = 5;
        dy[2 * D + d] = dy[3 * D + d] = 1;
    }
    const struct plumb_embed a = { .struct_bytes = sizeof a,
                                   .N = 4,
                                   .D = D,
                                   .V = V,
                                   .token = token,
                                   .scale = 1,
                                   .dy = { dy, PLUMB_F32 },
                                   .dw = { dw, PLUMB_F32 } };
    for (int threads = 1; threads <= 4; threads++) {
        for (int i = 0; i < V * D; i++)
            dw[i] = i / D == 1 || i / D == 3 ? 0 : NAN;
        omp_set_num_threads(threads);
        run(a, true);
        for (int d = 0; d < D; d++) {
            cr_expect(isnan(dw[d]) && isnan(dw[2 * D + d]));
            cr_expect(dw[D + d] == 16777216.0f && dw[3 * D + d] == 5);
        }
    }
}

/* 2^24, then ones that are lost one by one, then -2^24: any other order leaves some. The rows of
 * one token are spread over tiles of the device's sort and fill many batches of 32. */
Test(embed, long_runs_keep_their_order)
{
    enum { N = 9000, D = 6, V = 700 };
    static float dy[N * D], dw[V * D];
    static int32_t token[N];
    for (int n = 0; n < N; n++) {
        token[n] = n % 3 ? 600 : n % V;
        const bool first = n == 1, last = n == N - 1;
        for (int d = 0; d < D; d++)
            dy[n * D + d] = first ? 0x1p24f : last ? -0x1p24f : 1;
    }
    run((struct plumb_embed){ .struct_bytes = sizeof(struct plumb_embed),
                              .N = N,
                              .D = D,
                              .V = V,
                              .token = token,
                              .scale = 1,
                              .dy = { dy, PLUMB_F32 },
                              .dw = { dw, PLUMB_F32 } },
        true);
    float want[V] = { 0 };
    for (int n = 0; n < N; n++)
        want[token[n]] += dy[n * D];
    cr_assert(want[600] == 0);
    for (int i = 0; i < V * D; i++)
        cr_assert(dw[i] == want[i / D], "row %d: %g, not %g", i / D, (double)dw[i],
                  (double)want[i / D]);
}

/* Ids on a device cannot be checked before the op runs; the host refuses the same ones. */
Test(embed, ids_out_of_range_touch_nothing)
{
    enum { N = 6, D = 4, V = 3, P = 2 };
    const float w[V * D] = { 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3 }, p[P * D] = { 0 };
    const int32_t token[N] = { 0, -1, 3, 2, 2147483647, 2 }, position[N] = { 0, 0, 0, 1, 0, -5 };
    float y[N * D], dy[N * D], dw[V * D] = { 0 }, dp[P * D] = { 0 };
    const struct plumb_embed a = { .struct_bytes = sizeof a,
                                   .N = N,
                                   .D = D,
                                   .V = V,
                                   .P = P,
                                   .token = token,
                                   .position = position,
                                   .scale = 1,
                                   .w = { (void *)w, PLUMB_F32 },
                                   .wpos = { (void *)p, PLUMB_F32 },
                                   .y = { y, PLUMB_F32 },
                                   .dy = { dy, PLUMB_F32 },
                                   .dw = { dw, PLUMB_F32 },
                                   .dwpos = { dp, PLUMB_F32 } };
    if (plumb_test_device()->kind != PLUMB_DEV_CUDA) {
        cr_assert_eq(plumb_embed_bwd(plumb_test_device(), &a), PLUMB_EINVAL);
        return;
    }
    const float rows[N] = { 1, NAN, NAN, 3, NAN, NAN }, sums[V] = { 1, 0, 2 }, where[P] = { 4, 1 };
    for (int i = 0; i < N * D; i++)
        dy[i] = 1;
    run(a, false);
    run(a, true);
    for (int d = 0; d < D; d++) {
        for (int n = 0; n < N; n++)
            cr_expect(y[n * D + d] == rows[n] || (isnan(rows[n]) && isnan(y[n * D + d])));
        for (int t = 0; t < V; t++)
            cr_expect_eq(dw[t * D + d], sums[t]);
        for (int n = 0; n < P; n++)
            cr_expect_eq(dp[n * D + d], where[n]);
    }
}
