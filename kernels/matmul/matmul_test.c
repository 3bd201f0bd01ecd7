/* The matrix product against small integers, whose products are exact in every dtype here, and
 * its edge cases. */
#include <plumb/matmul.h>

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/simd.h"

enum { MOST = 96 * 1024 };
static float wide[3][MOST];
static double exact[4][MOST];

/* Small integers: sums of up to 4096 of their products are exact in f32, of 16 in bf16. */
static double integer(uint32_t *state, int range)
{
    *state = *state * 1664525u + 1013904223u;
    return (double)((int)(*state >> 16) % (2 * range + 1) - range);
}

static struct plumb_tensor fill(int slot, enum plumb_dtype t, int64_t count, int range)
{
    uint32_t state = (uint32_t)slot + 1;
    cr_assert_leq(count, MOST);
    for (int64_t i = 0; i < count; i++) {
        exact[slot][i] = integer(&state, range);
        plumb_store(wide[slot], t == PLUMB_BF16, i, (float)exact[slot][i]);
    }
    return (struct plumb_tensor){ wide[slot], t };
}

/* One call against a plain sum of integers; gaps between C's rows must stay as they were. */
static void agrees(int64_t M, int64_t N, int64_t K, int flags, enum plumb_dtype in,
                   enum plumb_dtype out)
{
    const int gap = 3, range = in == PLUMB_BF16 ? 2 : 4;
    struct plumb_matmul a = { .struct_bytes = sizeof a,
                              .M = M,
                              .N = N,
                              .K = K,
                              .trans_a = flags & 1,
                              .trans_b = flags & 2,
                              .accumulate = flags & 4,
                              .batch_invariant = flags & 8,
                              .ldc = N + gap };
    a.lda = (a.trans_a ? M : K) + gap, a.ldb = (a.trans_b ? K : N) + gap;
    a.a = fill(0, in, (a.trans_a ? K : M) * a.lda, range);
    a.b = fill(1, in, (a.trans_b ? N : K) * a.ldb, range);
    a.c = fill(2, out, M * a.ldc, range);
    cr_assert_eq(plumb_matmul(&plumb_cpu, &a), PLUMB_OK, "%s", plumb_errmsg());
    for (int64_t m = 0; m < M; m++)
        for (int64_t n = 0; n < a.ldc; n++) {
            double want = a.accumulate || n >= N ? exact[2][m * a.ldc + n] : 0;
            for (int64_t k = 0; k < K && n < N; k++)
                want += exact[0][a.trans_a ? k * a.lda + m : m * a.lda + k] *
                        exact[1][a.trans_b ? n * a.ldb + k : k * a.ldb + n];
            const double got = (double)plumb_load(a.c.data, out == PLUMB_BF16, m * a.ldc + n);
            cr_assert_eq(got, plumb_dtype_round(out, want),
                         "%lld x %lld x %lld, flags %d, c[%lld][%lld] is %g, not %g", (long long)M,
                         (long long)N, (long long)K, flags, (long long)m, (long long)n, got, want);
        }
}

Test(matmul, is_exact_on_small_integers_in_every_layout)
{
    const int64_t shapes[][3] = { { 1, 1, 1 },
                                  { 1, 17, 64 },
                                  { 5, 3, 2 },
                                  { 33, 20, 65 },
                                  { 70, 50, 300 } };
    for (int s = 0; s < 5; s++)
        for (int flags = 0; flags < 16; flags++) {
            const int64_t *d = shapes[s];
            agrees(d[0], d[1], d[2], flags, PLUMB_F32, PLUMB_F32);
            agrees(d[0], d[1], d[2], flags, PLUMB_BF16, PLUMB_F32);
            agrees(d[0], d[1], d[2], flags, PLUMB_BF16, PLUMB_BF16);
        }
}

Test(matmul, adds_a_bias_in_either_dtype)
{
    const float x[4] = { 1, 2, 3, 4 }, bias[2] = { 10, -20 };
    const uint16_t narrow[4] = { 0x3f80, 0x4000, 0x4040, 0x4080 },
                   narrow_bias[2] = { 0x4120, 0xc1a0 };
    float c[4];
    struct plumb_matmul a = { .struct_bytes = sizeof a,
                              .M = 2,
                              .N = 2,
                              .K = 2,
                              .c = { c, PLUMB_F32 } };
    for (int i = 0; i < 3; i++) {
        a.a = a.b = i ? (struct plumb_tensor){ (void *)narrow, PLUMB_BF16 }
                      : (struct plumb_tensor){ (void *)x, PLUMB_F32 };
        a.bias = i == 2 ? (struct plumb_tensor){ (void *)narrow_bias, PLUMB_BF16 }
                        : (struct plumb_tensor){ (void *)bias, PLUMB_F32 };
        cr_assert_eq(plumb_matmul(&plumb_cpu, &a), PLUMB_OK, "%s", plumb_errmsg());
        cr_expect(c[0] == 17 && c[1] == -10 && c[2] == 25 && c[3] == 2, "case %d: %g %g %g %g", i,
                  (double)c[0], (double)c[1], (double)c[2], (double)c[3]);
    }
}

Test(matmul, an_empty_sum_is_the_bias_or_zero_or_what_was_there)
{
    float c[6] = { NAN, NAN, 9, NAN, NAN, 9 };
    const float bias[2] = { 3, 4 };
    struct plumb_matmul a = { .struct_bytes = sizeof a,
                              .M = 2,
                              .N = 2,
                              .ldc = 3,
                              .c = { c, PLUMB_F32 } };
    cr_assert_eq(plumb_matmul(&plumb_cpu, &a), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect(c[0] == 0 && c[1] == 0 && c[2] == 9 && c[3] == 0 && c[4] == 0 && c[5] == 9);
    a.bias = (struct plumb_tensor){ (void *)bias, PLUMB_F32 };
    cr_assert_eq(plumb_matmul(&plumb_cpu, &a), PLUMB_OK, "%s", plumb_errmsg());
    a.bias.data = NULL, a.accumulate = true;
    cr_assert_eq(plumb_matmul(&plumb_cpu, &a), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect(c[0] == 3 && c[1] == 4 && c[2] == 9 && c[3] == 3 && c[4] == 4 && c[5] == 9);
}

Test(matmul, overwrites_nan_unless_it_accumulates)
{
    const float x[2] = { 1, 2 };
    float c[1] = { NAN };
    struct plumb_matmul a = { .struct_bytes = sizeof a,
                              .M = 1,
                              .N = 1,
                              .K = 2,
                              .a = { (void *)x, PLUMB_F32 },
                              .b = { (void *)x, PLUMB_F32 },
                              .c = { c, PLUMB_F32 } };
    cr_assert_eq(plumb_matmul(&plumb_cpu, &a), PLUMB_OK);
    cr_expect(c[0] == 5);
}

static void refused(struct plumb_matmul a, const char *why)
{
    cr_expect_eq(plumb_matmul(&plumb_cpu, &a), PLUMB_EINVAL, "accepted, wanted \"%s\"", why);
    cr_expect(strstr(plumb_errmsg(), why), "message was: %s", plumb_errmsg());
}

Test(matmul, refuses_bad_arguments_by_name)
{
    float x[16] = { 0 };
    const struct plumb_tensor f = { x, PLUMB_F32 }, h = { x, PLUMB_BF16 };
    const struct plumb_matmul
        good = { .struct_bytes = sizeof good, .M = 2, .N = 2, .K = 3, .a = f, .b = f, .c = f };
    struct plumb_matmul a = good;
    a.M = -1, refused(a, "M=-1");
    a = good, a.lda = 2, refused(a, "lda=2");
    a = good, a.ldb = INT64_MAX / 4, refused(a, "overflows");
    a = good, a.b = h, refused(a, "b cannot be bfloat16");
    a = good, a.c = h, refused(a, "c cannot be bfloat16");
    a = good, a.c.data = NULL, refused(a, "c is missing");
    a = good, a.bias = f, a.accumulate = true, refused(a, "accumulate");
    a = good, a.struct_bytes = 8, refused(a, "struct_bytes");
}

/* The tiled loop of the oracle sums in the order of the plain loop. */
Test(matmul, tiles_of_the_oracle_change_no_bit)
{
    enum { M = 70, N = 67, K = 150 };
    for (int flags = 0; flags < 4; flags++) {
        struct plumb_matmul a = { .struct_bytes = sizeof a,
                                  .M = M,
                                  .N = N,
                                  .K = K,
                                  .trans_a = flags & 1,
                                  .trans_b = flags & 2 };
        for (int s = 0; s < 2; s++)
            for (int i = 0; i < K * M; i++)
                exact[s][i] = sin(1 + i * (s + 1.3)) * 3;
        a.a.data = exact[0], a.b.data = exact[1], a.c.data = exact[2];
        cr_assert_eq(plumb_matmul(&plumb_ref, &a), PLUMB_OK, "%s", plumb_errmsg());
        for (int m = 0; m < M; m++)
            for (int n = 0; n < N; n++) {
                double sum = 0;
                for (int k = 0; k < K; k++)
                    sum += exact[0][flags & 1 ? k * M + m : m * K + k] *
                           exact[1][flags & 2 ? n * K + k : k * N + n];
                cr_assert_eq(exact[2][m * N + n], sum, "flags %d, c[%d][%d]", flags, m, n);
            }
    }
}

/* Calls of one shape and of many from several threads: primitives and scratch are never shared. */
Test(matmul, threads_may_call_at_the_same_time)
{
    enum { THREADS = 4, CALLS = 300, SIZE = 12 };
    int wrong = 0;
#pragma omp parallel num_threads(THREADS) reduction(+ : wrong)
    for (int i = 0; i < CALLS; i++) {
        float x[SIZE * SIZE], c[SIZE * SIZE];
        const int64_t K = 1 + i % SIZE;
        for (int j = 0; j < SIZE * SIZE; j++)
            x[j] = (float)(j % 5);
        struct plumb_matmul a = { .struct_bytes = sizeof a,
                                  .M = 3,
                                  .N = SIZE,
                                  .K = K,
                                  .lda = SIZE };
        a.a = a.b = (struct plumb_tensor){ x, PLUMB_F32 },
        a.c = (struct plumb_tensor){ c, PLUMB_F32 };
        wrong += plumb_matmul(&plumb_cpu, &a) != PLUMB_OK;
        for (int m = 0; m < 3; m++)
            for (int n = 0; n < SIZE; n++) {
                float want = 0;
                for (int k = 0; k < K; k++)
                    want += x[m * SIZE + k] * x[k * SIZE + n];
                wrong += c[m * SIZE + n] != want;
            }
    }
    cr_assert_eq(wrong, 0);
}

/* Rows of M = 1..70 against those of M = 70, at another place in A. */
static void rows_keep_their_bits(int64_t N, int64_t K, enum plumb_dtype in, enum plumb_dtype out,
                                 bool accumulate)
{
    enum { ALL = 70 };
    static float whole[MOST], part[MOST];
    const size_t row = (size_t)N * plumb_dtype_bytes(out);
    struct plumb_matmul a = { .struct_bytes = sizeof a,
                              .M = ALL,
                              .N = N,
                              .K = K,
                              .trans_b = true,
                              .batch_invariant = true,
                              .accumulate = accumulate,
                              .lda = K + 8 };
    memset(whole, 0, sizeof whole);
    cr_assert_leq(ALL * (K + 8), MOST);
    cr_assert_leq(N * K, MOST);
    for (int64_t i = 0; i < ALL * a.lda; i++)
        plumb_store(wide[0], in == PLUMB_BF16, i, (float)sin((double)i * 1.7));
    for (int64_t i = 0; i < N * K; i++)
        plumb_store(wide[1], in == PLUMB_BF16, i, (float)sin((double)i * 0.3 + 1));
    a.a = (struct plumb_tensor){ wide[0], in }, a.b = (struct plumb_tensor){ wide[1], in },
    a.c = (struct plumb_tensor){ whole, out };
    cr_assert_eq(plumb_matmul(&plumb_cpu, &a), PLUMB_OK, "%s", plumb_errmsg());
    for (a.M = 1, a.c.data = part; a.M < ALL; a.M++) {
        const int64_t from = a.M * 5 % (ALL - a.M + 1);
        a.a.data = (char *)wide[0] + (size_t)(from * a.lda) * plumb_dtype_bytes(in);
        memset(part, 0, sizeof part);
        cr_assert_eq(plumb_matmul(&plumb_cpu, &a), PLUMB_OK, "%s", plumb_errmsg());
        cr_assert(!memcmp(part, (char *)whole + (size_t)from * row, (size_t)a.M * row),
                  "N=%lld K=%lld %s to %s: rows of M=%lld differ", (long long)N, (long long)K,
                  plumb_dtype_name(in), plumb_dtype_name(out), (long long)a.M);
    }
}

static void every_dtype_keeps_its_rows(void)
{
    const int64_t shapes[][2] = { { 1, 64 }, { 5, 1000 }, { 70, 1100 }, { 600, 96 }, { 33, 37 } };
    for (int s = 0; s < 5; s++) {
        rows_keep_their_bits(shapes[s][0], shapes[s][1], PLUMB_F32, PLUMB_F32, s == 2);
        rows_keep_their_bits(shapes[s][0], shapes[s][1], PLUMB_BF16, PLUMB_F32, s == 3);
        rows_keep_their_bits(shapes[s][0], shapes[s][1], PLUMB_BF16, PLUMB_BF16, s == 4);
    }
}

Test(matmul, rows_do_not_depend_on_their_number) { every_dtype_keeps_its_rows(); }

/* The library reads its limits once a process; each of these tests has a process of its own. */
Test(matmul, rows_do_not_depend_on_their_number_on_avx2)
{
    setenv("PLUMB_ISA", "v3", 1);
    every_dtype_keeps_its_rows();
}

Test(matmul, rows_do_not_depend_on_their_number_on_the_baseline)
{
    setenv("PLUMB_ISA", "v2", 1);
    every_dtype_keeps_its_rows();
}

Test(matmul, rows_do_not_depend_on_their_number_where_bf16_is_emulated)
{
    setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE", 1);
    every_dtype_keeps_its_rows();
}

Test(matmul, is_exact_on_small_integers_without_bf16_instructions)
{
    setenv("PLUMB_ISA", "v3", 1);
    for (int flags = 0; flags < 16; flags++) {
        agrees(33, 20, 65, flags, PLUMB_BF16, PLUMB_F32);
        agrees(33, 20, 65, flags, PLUMB_BF16, PLUMB_BF16);
    }
    agrees(5, 3, 5000, 2, PLUMB_BF16, PLUMB_F32); /* two panels deep, sums stay under 2^24 */
    agrees(5, 3, 5000, 8 + 4, PLUMB_BF16, PLUMB_F32);
    agrees(3, 1500, 20, 0, PLUMB_BF16, PLUMB_BF16); /* two panels wide */
}
