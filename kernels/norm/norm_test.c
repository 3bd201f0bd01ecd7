#include <plumb/norm.h>

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/tensor.h"

static double pattern(int64_t i) { return sin(0.7 * (double)i) * 2 + 0.3; }

/* One direction on the device under test. */
static int run(int op(const struct plumb_device *, const struct plumb_norm *),
               const struct plumb_norm *call)
{
    const struct plumb_device *dev = plumb_test_device();
    struct plumb_norm a = *call;
    const int64_t row = a.G * a.D, groups = a.N * a.G;
    const int64_t x = a.N * (a.ldx ? a.ldx : row), y = a.N * (a.ldy ? a.ldy : row);
    struct plumb_tensor *t[] = { &a.x,    &a.delta, &a.sum,  &a.w,  &a.b,  &a.y, &a.rstd,
                                 &a.mean, &a.dy,    &a.dsum, &a.dx, &a.dw, &a.db };
    const int64_t count[] = { x,      a.N * row, a.N * row, a.D, a.D, y,  groups,
                              groups, y,         a.N * row, x,   a.D, a.D };
    enum { ARRAYS = sizeof t / sizeof *t };
    struct plumb_test_array list[ARRAYS + 1] = { { &a.work.data,
                                                   plumb_norm_bwd_workspace(dev, &a) } };
    for (int i = 0; i < ARRAYS; i++)
        list[i + 1] = (struct plumb_test_array){ &t[i]->data, (size_t)count[i] *
                                                                  plumb_dtype_bytes(t[i]->dtype) };
    plumb_test_arrays_to(dev, list, ARRAYS + 1);
    const int rc = op(dev, &a);
    plumb_test_arrays_back(dev, list, ARRAYS + 1);
    return rc;
}

Test(norm, names_the_argument_that_is_wrong)
{
    float v[8] = { 0 };
    const struct plumb_tensor t = { v, PLUMB_F32 };
    const struct plumb_norm good = { .struct_bytes = sizeof good,
                                     .kind = PLUMB_NORM_RMS,
                                     .N = 1,
                                     .G = 1,
                                     .D = 4,
                                     .eps = 1e-6,
                                     .x = t,
                                     .w = t,
                                     .y = { v + 4, PLUMB_F32 } };
    struct plumb_norm bad[9];
    const char *word[9] = {
        "D=0",    "G=0",         "ldx=3", "eps=", "delta", "float16", "RMSNorm has none",
        "kind=7", "struct_bytes"
    };
    for (int i = 0; i < 9; i++)
        bad[i] = good;
    bad[0].D = 0;
    bad[1].G = 0;
    bad[2].ldx = 3;
    bad[3].eps = NAN;
    bad[4].sum = t;
    bad[5].y.dtype = PLUMB_F16;
    bad[6].b = t;
    bad[7].kind = (enum plumb_norm_kind)7;
    bad[8].struct_bytes = 8;
    cr_assert_eq(plumb_norm_fwd(&plumb_cpu, &good), PLUMB_OK, "%s", plumb_errmsg());
    for (int i = 0; i < 9; i++) {
        cr_expect_eq(plumb_norm_fwd(&plumb_cpu, &bad[i]), PLUMB_EINVAL, "case %d", i);
        cr_expect(strstr(plumb_errmsg(), word[i]), "case %d, message was: %s", i, plumb_errmsg());
    }
}

Test(norm, backward_asks_for_its_scratch_by_name)
{
    float v[4] = { 1, 2, 3, 4 }, o[4], r[1] = { 1 };
    const struct plumb_tensor t = { v, PLUMB_F32 };
    const struct plumb_norm a = { .struct_bytes = sizeof a,
                                  .N = 1,
                                  .G = 1,
                                  .D = 4,
                                  .x = t,
                                  .w = t,
                                  .dy = t,
                                  .dw = t,
                                  .rstd = { r, PLUMB_F32 },
                                  .dx = { o, PLUMB_F32 } };
    cr_assert_eq(plumb_norm_bwd(&plumb_cpu, &a), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), "work"), "message was: %s", plumb_errmsg());
}

Test(norm, small_rows_by_hand)
{
    float x[2] = { 3, 4 }, w[2] = { 1, 2 }, b[2] = { 0, 10 }, y[2], mean, rstd;
    struct plumb_norm a = { .struct_bytes = sizeof a,
                            .kind = PLUMB_NORM_RMS,
                            .N = 1,
                            .G = 1,
                            .D = 2,
                            .x = { x, PLUMB_F32 },
                            .w = { w, PLUMB_F32 },
                            .y = { y, PLUMB_F32 } };
    cr_assert_eq(run(plumb_norm_fwd, &a), PLUMB_OK);
    cr_expect_float_eq(y[0], 3 / sqrt(12.5), 2e-7);
    cr_expect_float_eq(y[1], 8 / sqrt(12.5), 4e-7);
    a.kind = PLUMB_NORM_LAYER;
    a.b = (struct plumb_tensor){ b, PLUMB_F32 };
    a.mean = (struct plumb_tensor){ &mean, PLUMB_F32 };
    a.rstd = (struct plumb_tensor){ &rstd, PLUMB_F32 };
    cr_assert_eq(run(plumb_norm_fwd, &a), PLUMB_OK);
    cr_expect(y[0] == -1 && y[1] == 12 && mean == 3.5f && rstd == 2);
}

/* One pass over x and x^2 would lose the variance altogether here. */
Test(norm, layer_norm_keeps_the_variance_of_a_row_far_from_zero)
{
    float x[64], w[64], y[64];
    for (int i = 0; i < 64; i++)
        x[i] = 65536.0f + (i % 2 ? 1.0f : -1.0f), w[i] = 1;
    const struct plumb_norm a = { .struct_bytes = sizeof a,
                                  .kind = PLUMB_NORM_LAYER,
                                  .N = 1,
                                  .G = 1,
                                  .D = 64,
                                  .x = { x, PLUMB_F32 },
                                  .w = { w, PLUMB_F32 },
                                  .y = { y, PLUMB_F32 } };
    cr_assert_eq(run(plumb_norm_fwd, &a), PLUMB_OK);
    for (int i = 0; i < 64; i++)
        cr_expect_eq(y[i], i % 2 ? 1.0f : -1.0f);
}

static void check_rows_alone(int64_t N, int64_t D)
{
    float *x = malloc((size_t)(N * D) * sizeof *x), *all = malloc((size_t)(N * D) * sizeof *all),
          *w = malloc((size_t)D * sizeof *w), *one = malloc((size_t)D * sizeof *one);
    cr_assert(x && all && w && one, "out of memory");
    for (int64_t i = 0; i < N * D; i++)
        x[i] = (float)pattern(i);
    for (int64_t i = 0; i < D; i++)
        w[i] = (float)pattern(3 * i + 1);
    for (int kind = 0; kind < 2; kind++) {
        struct plumb_norm a = { .struct_bytes = sizeof a,
                                .kind = (enum plumb_norm_kind)kind,
                                .N = N,
                                .G = 1,
                                .D = D,
                                .eps = 1e-5,
                                .x = { x, PLUMB_F32 },
                                .w = { w, PLUMB_F32 },
                                .y = { all, PLUMB_F32 } };
        cr_assert_eq(run(plumb_norm_fwd, &a), PLUMB_OK, "%s", plumb_errmsg());
        for (int64_t n = 0; n < N; n += 1 + N / 9) {
            a.N = 1, a.x.data = x + n * D, a.y.data = one;
            cr_assert_eq(run(plumb_norm_fwd, &a), PLUMB_OK, "%s", plumb_errmsg());
            cr_expect(!memcmp(one, all + n * D, (size_t)D * sizeof *one), "width %lld, row %lld",
                      (long long)D, (long long)n);
        }
    }
    free(x), free(all), free(w), free(one);
}

Test(norm, a_rows_bits_ignore_the_other_rows)
{
    check_rows_alone(9, 53);
    check_rows_alone(160, 576);
}

/* The heads of q inside rows of q, k and v: in place, the rest of the row untouched. */
Test(norm, strided_groups_in_place_equal_dense_ones)
{
    enum { N = 5, G = 2, D = 20, LD = 70 };
    float wide[N * LD], before[N * LD], dense[N * G * D], w[D], y[N * G * D];
    for (int i = 0; i < N * LD; i++)
        before[i] = wide[i] = (float)pattern(i);
    for (int n = 0; n < N; n++)
        memcpy(dense + n * G * D, wide + n * LD, G * D * sizeof *dense);
    for (int i = 0; i < D; i++)
        w[i] = (float)pattern(i + 5);
    const struct plumb_norm a = { .struct_bytes = sizeof a,
                                  .kind = PLUMB_NORM_RMS,
                                  .N = N,
                                  .G = G,
                                  .D = D,
                                  .eps = 1e-6,
                                  .x = { dense, PLUMB_F32 },
                                  .w = { w, PLUMB_F32 },
                                  .y = { y, PLUMB_F32 } };
    struct plumb_norm s = a;
    s.x.data = s.y.data = wide;
    s.ldx = s.ldy = LD;
    cr_assert_eq(run(plumb_norm_fwd, &a), PLUMB_OK);
    cr_assert_eq(run(plumb_norm_fwd, &s), PLUMB_OK);
    for (int n = 0; n < N; n++) {
        cr_expect_arr_eq(wide + n * LD, y + n * G * D, G * D * sizeof *y);
        cr_expect_arr_eq(wide + n * LD + G * D, before + n * LD + G * D,
                         (LD - G * D) * sizeof *wide);
    }
    s.ldy = G * D;
    cr_expect_eq(run(plumb_norm_fwd, &s), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), "y cannot alias x"), "message was: %s", plumb_errmsg());
}

/* dx over dsum or over dy, with and without weight gradients: the same bits as into fresh
 * memory. */
Test(norm, backward_in_place_equals_out_of_place)
{
    enum { N = 40, D = 33 };
    float x[N * D], dy[N * D], dsum[N * D], w[D], dw[D] = { 0 }, db[D] = { 0 }, work[2 * 2 * D];
    float rstd[N], mean[N], dx[N * D], copy[N * D];
    for (int i = 0; i < N * D; i++) {
        x[i] = (float)pattern(i), dy[i] = (float)pattern(2 * i + 1);
        dsum[i] = (float)pattern(3 * i + 2);
    }
    for (int i = 0; i < D; i++)
        w[i] = 1 + (float)pattern(i);
    for (int n = 0; n < N; n++)
        rstd[n] = 0.5f + (float)n / N, mean[n] = 0.1f * (float)n;
    struct plumb_norm a = { .struct_bytes = sizeof a,
                            .kind = PLUMB_NORM_LAYER,
                            .N = N,
                            .G = 1,
                            .D = D,
                            .x = { x, PLUMB_F32 },
                            .w = { w, PLUMB_F32 },
                            .rstd = { rstd, PLUMB_F32 },
                            .mean = { mean, PLUMB_F32 },
                            .dy = { dy, PLUMB_F32 },
                            .dsum = { dsum, PLUMB_F32 },
                            .dx = { dx, PLUMB_F32 },
                            .dw = { dw, PLUMB_F32 },
                            .db = { db, PLUMB_F32 },
                            .work = { work, PLUMB_F32 } };
    cr_assert_leq(plumb_norm_bwd_workspace(plumb_test_device(), &a), sizeof work);
    cr_assert_eq(run(plumb_norm_bwd, &a), PLUMB_OK, "%s", plumb_errmsg());
    memcpy(copy, dsum, sizeof copy);
    a.dx.data = a.dsum.data = copy;
    cr_assert_eq(run(plumb_norm_bwd, &a), PLUMB_OK);
    cr_expect_arr_eq(copy, dx, sizeof dx);
    memcpy(copy, dy, sizeof copy);
    a.dsum.data = dsum, a.dx.data = a.dy.data = copy;
    cr_assert_eq(run(plumb_norm_bwd, &a), PLUMB_OK);
    cr_expect_arr_eq(copy, dx, sizeof dx);
    float sum[D] = { 0 };
    for (int i = 0; i < N * D; i++)
        sum[i % D] += dy[i];
    for (int d = 0; d < D; d++) /* three calls added three times */
        cr_expect_float_eq(db[d], 3 * sum[d], 3 * N * 2.4e-7 * 3, "column %d", d);
    a.dw.data = a.db.data = a.work.data = NULL, a.dy.data = dy, a.dx.data = copy;
    cr_assert_eq(run(plumb_norm_bwd, &a), PLUMB_OK);
    cr_expect_arr_eq(copy, dx, sizeof dx);
}

enum { MIX_N = 3, MIX_D = 70, MIX = MIX_N * MIX_D };

/* A LayerNorm whose values are rounded to the dtypes `as` (of x, delta, y, w), stored in `in`. */
static struct plumb_norm mixed(const enum plumb_dtype *as, const enum plumb_dtype *in)
{
    double x[MIX], delta[MIX], w[MIX_D], b[MIX_D];
    for (int i = 0; i < MIX; i++) {
        x[i] = plumb_dtype_round(as[0], pattern(i));
        delta[i] = plumb_dtype_round(as[1], pattern(2 * i + 7));
    }
    for (int i = 0; i < MIX_D; i++) {
        w[i] = plumb_dtype_round(as[3], pattern(5 * i + 1));
        b[i] = plumb_dtype_round(as[3], pattern(4 * i + 2));
    }
    return (struct plumb_norm){ .struct_bytes = sizeof(struct plumb_norm),
                                .kind = PLUMB_NORM_LAYER,
                                .N = MIX_N,
                                .G = 1,
                                .D = MIX_D,
                                .eps = 1e-5,
                                .x = plumb_test_tensor(in[0], MIX, x),
                                .delta = plumb_test_tensor(in[1], MIX, delta),
                                .sum = plumb_test_tensor(in[0], MIX, NULL),
                                .w = plumb_test_tensor(in[3], MIX_D, w),
                                .b = plumb_test_tensor(in[3], MIX_D, b),
                                .y = plumb_test_tensor(in[2], MIX, NULL) };
}

static void release(struct plumb_norm *a)
{
    struct plumb_tensor *all[] = { &a->x, &a->delta, &a->sum, &a->w, &a->b, &a->y };
    for (int i = 0; i < 6; i++)
        plumb_test_free(all[i]);
}

static void compare(const struct plumb_tensor *truth, const struct plumb_tensor *yard,
                    const struct plumb_tensor *got, int mix, const char *what)
{
    double plain = 0, own = 0, scale = 0;
    for (int i = 0; i < MIX; i++) {
        const double t = plumb_test_get(truth, i);
        plain = fmax(plain, fabs(plumb_test_get(yard, i) - t));
        own = fmax(own, fabs(plumb_test_get(got, i) - t));
        scale = fmax(scale, fabs(t));
    }
    cr_expect(own <= 2 * plain + plumb_dtype_eps(got->dtype) * scale,
              "mix %d, %s: error %g, yardstick %g", mix, what, own, plain);
}

Test(norm, every_mix_of_dtypes_agrees_with_the_oracle)
{
    static const enum plumb_dtype f64[4] = { PLUMB_F64, PLUMB_F64, PLUMB_F64, PLUMB_F64 };
    for (int mix = 0; mix < 16; mix++) {
        enum plumb_dtype t[4];
        for (int i = 0; i < 4; i++)
            t[i] = mix >> i & 1 ? PLUMB_BF16 : PLUMB_F32;
        struct plumb_norm truth = mixed(t, f64), yard = mixed(t, f64), got = mixed(t, t);
        plumb_norm_fwd_ref(&truth, PLUMB_F64);
        plumb_norm_fwd_ref(&yard, mix ? PLUMB_BF16 : PLUMB_F32);
        cr_assert_eq(run(plumb_norm_fwd, &got), PLUMB_OK, "%s", plumb_errmsg());
        compare(&truth.sum, &yard.sum, &got.sum, mix, "sum");
        compare(&truth.y, &yard.y, &got.y, mix, "y");
        release(&truth);
        release(&yard);
        release(&got);
    }
}
