#include <plumb/embed.h>

#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <string.h>

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
    cr_assert_eq(plumb_embed_fwd(&plumb_cpu, &a), PLUMB_OK);
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
        cr_assert_eq(plumb_embed_bwd(&plumb_cpu, &a), PLUMB_OK);
        for (int d = 0; d < D; d++) {
            cr_expect(isnan(dw[d]) && isnan(dw[2 * D + d]));
            cr_expect(dw[D + d] == 16777216.0f && dw[3 * D + d] == 5);
        }
    }
}
