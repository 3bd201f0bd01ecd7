/* The matrix product on a device (PLUMB_TEST_DEVICE, by default the CUDA sources on the CPU)
 * against small integers, whose products are exact in every dtype here, and its promises. */
#include <criterion/criterion.h>
#include <math.h>
#include <plumb/backend.h>
#include <plumb/device.h>
#include <plumb/matmul.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/simd.h"

enum { MOST = 96 * 1024 };
static float wide[4][MOST];
static double exact[4][MOST];
static void *there[4];
static struct plumb_device dev;

static void must(int rc) { cr_assert_eq(rc, PLUMB_OK, "%s", plumb_errmsg()); }

static void open_device(void)
{
    const char *name = getenv("PLUMB_TEST_DEVICE");
    must(plumb_device_open(name ? name : "cuda-sim", &dev));
    for (int i = 0; i < 4; i++)
        must(plumb_device_alloc(&dev, sizeof wide[i] + 64, &there[i]));
}

static void close_device(void)
{
    for (int i = 0; i < 4; i++)
        plumb_device_free(&dev, there[i]);
    plumb_device_close(&dev);
}
TestSuite(matmul_gpu, .init = open_device, .fini = close_device, .timeout = 240);

static struct plumb_tensor sent(int slot, enum plumb_dtype t, int64_t count)
{
    cr_assert_leq(count, MOST);
    must(plumb_device_upload(&dev, there[slot], wide[slot], (size_t)count * plumb_dtype_bytes(t)));
    must(plumb_device_sync(&dev));
    return (struct plumb_tensor){ there[slot], t };
}

static void fetch(int slot, enum plumb_dtype t, int64_t count)
{
    must(
        plumb_device_download(&dev, wide[slot], there[slot], (size_t)count * plumb_dtype_bytes(t)));
}

/* Integers in [-range, range]: sums of up to 4096 of their products are exact in f32, of 16 in
 * bf16. */
static struct plumb_tensor integers(int slot, enum plumb_dtype t, int64_t count, int range)
{
    uint32_t state = (uint32_t)slot + 1;
    cr_assert_leq(count, MOST);
    for (int64_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        exact[slot][i] = (double)((int)(state >> 16) % (2 * range + 1) - range);
        plumb_store(wide[slot], t == PLUMB_BF16, i, (float)exact[slot][i]);
    }
    return sent(slot, t, count);
}

enum { TRANS_A = 1, TRANS_B = 2, ACCUMULATE = 4, INVARIANT = 8, FLAGS = 16 };

struct shape {
    int64_t M, N, K, gap; /* gap: elements between rows that belong to nobody */
};

static struct plumb_matmul product(const struct shape *s, int flags, enum plumb_dtype in,
                                   enum plumb_dtype out, int range)
{
    struct plumb_matmul a = { .struct_bytes = sizeof a,
                              .M = s->M,
                              .N = s->N,
                              .K = s->K,
                              .trans_a = flags & TRANS_A,
                              .trans_b = flags & TRANS_B,
                              .accumulate = flags & ACCUMULATE,
                              .batch_invariant = flags & INVARIANT,
                              .ldc = s->N + s->gap };
    a.lda = (a.trans_a ? s->M : s->K) + s->gap;
    a.ldb = (a.trans_b ? s->K : s->N) + s->gap;
    a.a = integers(0, in, (a.trans_a ? s->K : s->M) * a.lda, range);
    a.b = integers(1, in, (a.trans_b ? s->N : s->K) * a.ldb, range);
    a.c = integers(2, out, s->M * a.ldc, range);
    return a;
}

/* What is in `there` against a plain sum of the integers; gaps must stay as they were. */
static void expect_exact(const struct plumb_matmul *a, const double *bias)
{
    const bool narrow = a->c.dtype == PLUMB_BF16;
    fetch(2, a->c.dtype, a->M * a->ldc);
    for (int64_t m = 0; m < a->M; m++)
        for (int64_t n = 0; n < a->ldc; n++) {
            double want = a->accumulate || n >= a->N ? exact[2][m * a->ldc + n] : 0;
            if (bias && n < a->N) want += bias[n];
            for (int64_t k = 0; k < a->K && n < a->N; k++)
                want += exact[0][a->trans_a ? k * a->lda + m : m * a->lda + k] *
                        exact[1][a->trans_b ? n * a->ldb + k : k * a->ldb + n];
            const double got = (double)plumb_load(wide[2], narrow, m * a->ldc + n);
            cr_assert_eq(got, plumb_dtype_round(a->c.dtype, want),
                         "%lld x %lld x %lld, c[%lld][%lld] is %g, not %g", (long long)a->M,
                         (long long)a->N, (long long)a->K, (long long)m, (long long)n, got, want);
        }
}

/* Gaps of 3 break every alignment, gaps of 8 none; sizes around and beyond a tile. */
Test(matmul_gpu, is_exact_on_small_integers_in_every_layout)
{
    static const struct shape shapes[] = { { 1, 1, 1, 3 },     { 1, 17, 64, 8 },
                                           { 5, 3, 2, 0 },     { 33, 20, 65, 3 },
                                           { 64, 65, 40, 8 },  { 70, 50, 300, 8 },
                                           { 130, 136, 48, 0 } };
    static const enum plumb_dtype types[][2] = { { PLUMB_F32, PLUMB_F32 },
                                                 { PLUMB_BF16, PLUMB_F32 },
                                                 { PLUMB_BF16, PLUMB_BF16 } };
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int flags = 0; flags < FLAGS; flags++)
            for (int t = 0; t < 3; t++) {
                const int range = types[t][0] == PLUMB_BF16 ? 2 : 4;
                const struct plumb_matmul a = product(&shapes[s], flags, types[t][0], types[t][1],
                                                      range);
                must(plumb_matmul(&dev, &a));
                expect_exact(&a, NULL);
            }
}

/* Every pair of dtypes of bias and C, the bias aligned and not, by the library and by our own
 * code. */
Test(matmul_gpu, adds_a_bias_in_either_dtype)
{
    static const struct shape s = { 19, 300, 33, 0 };
    for (int way = 0; way < 16; way++) {
        const enum plumb_dtype out = way & 1 ? PLUMB_BF16 : PLUMB_F32;
        const enum plumb_dtype of_bias = way & 2 ? PLUMB_BF16 : PLUMB_F32;
        const int64_t from = way & 4 ? 1 : 0;
        struct plumb_matmul a = product(&s, TRANS_B | (way & 8 ? INVARIANT : 0), PLUMB_BF16, out,
                                        2);
        a.bias = integers(3, of_bias, s.N + from, 9);
        a.bias.data = (char *)a.bias.data + (size_t)from * plumb_dtype_bytes(of_bias);
        must(plumb_matmul(&dev, &a));
        expect_exact(&a, exact[3] + from);
    }
}

Test(matmul_gpu, an_empty_sum_is_the_bias_or_zero_or_what_was_there)
{
    for (int way = 0; way < 12; way++) {
        const struct shape s = { 3, 5, 0, 2 };
        const enum plumb_dtype out = way & 1 ? PLUMB_BF16 : PLUMB_F32;
        struct plumb_matmul a = product(&s, way / 4 == 2 ? ACCUMULATE : 0, PLUMB_BF16, out, 4);
        if (way / 4 == 1) a.bias = integers(3, way & 2 ? PLUMB_BF16 : PLUMB_F32, s.N, 9);
        must(plumb_matmul(&dev, &a));
        expect_exact(&a, a.bias.data ? exact[3] : NULL);
    }
}

/* More shapes than the device remembers algorithms for. */
Test(matmul_gpu, shapes_without_end_are_no_trouble)
{
    for (int64_t i = 0; i < 700; i++) {
        const struct shape s = { 1 + i % 40, 1 + i / 40, 3, i % 3 };
        const struct plumb_matmul a = product(&s, (int)(i % 4), PLUMB_F32, PLUMB_F32, 4);
        must(plumb_matmul(&dev, &a));
        if (i % 50 == 0) expect_exact(&a, NULL);
    }
}

Test(matmul_gpu, a_device_may_be_opened_twice)
{
    const char *name = getenv("PLUMB_TEST_DEVICE");
    static const struct shape s = { 9, 9, 9, 0 };
    struct plumb_device other, kept = dev;
    must(plumb_device_open(name ? name : "cuda-sim", &other));
    for (int i = 0; i < 2; i++) {
        dev = i ? kept : other;
        const struct plumb_matmul a = product(&s, 0, PLUMB_F32, PLUMB_F32, 4);
        must(plumb_matmul(&dev, &a));
        expect_exact(&a, NULL);
        if (!i) plumb_device_close(&other);
    }
}

/* Rows of M = 1 .. 70 against those of M = 70, at another place in A. */
static void rows_keep_their_bits(int64_t N, int64_t K, enum plumb_dtype in, enum plumb_dtype out,
                                 bool accumulate)
{
    enum { ALL = 70 };
    static float whole[MOST];
    const size_t row = (size_t)N * plumb_dtype_bytes(out);
    struct plumb_matmul a = { .struct_bytes = sizeof a,
                              .M = ALL,
                              .N = N,
                              .K = K,
                              .trans_b = true,
                              .batch_invariant = true,
                              .accumulate = accumulate,
                              .lda = K + 8 };
    for (int64_t i = 0; i < ALL * a.lda; i++)
        plumb_store(wide[0], in == PLUMB_BF16, i, (float)sin((double)i * 1.7));
    for (int64_t i = 0; i < N * K; i++)
        plumb_store(wide[1], in == PLUMB_BF16, i, (float)sin((double)i * 0.3 + 1));
    a.a = sent(0, in, ALL * a.lda), a.b = sent(1, in, N * K);
    a.c = (struct plumb_tensor){ there[2], out };
    for (int64_t M = ALL; M > 0; M -= M > 60 ? 1 : 7) {
        const int64_t from = M * 5 % (ALL - M + 1);
        a.M = M;
        a.a.data = (char *)there[0] + (size_t)(from * a.lda) * plumb_dtype_bytes(in);
        must(plumb_device_zero(&dev, there[2], sizeof wide[2]));
        must(plumb_matmul(&dev, &a));
        fetch(2, out, M * N);
        if (M == ALL) memcpy(whole, wide[2], (size_t)M * row);
        cr_assert(!memcmp(wide[2], (char *)whole + (size_t)from * row, (size_t)M * row),
                  "N=%lld K=%lld %s to %s: rows of M=%lld differ", (long long)N, (long long)K,
                  plumb_dtype_name(in), plumb_dtype_name(out), (long long)M);
    }
}

Test(matmul_gpu, rows_do_not_depend_on_their_number)
{
    static const int64_t shapes[][2] = { { 1, 64 },
                                         { 5, 1000 },
                                         { 70, 1100 },
                                         { 600, 96 },
                                         { 33, 37 } };
    for (int s = 0; s < 5; s++) {
        rows_keep_their_bits(shapes[s][0], shapes[s][1], PLUMB_F32, PLUMB_F32, s == 2);
        rows_keep_their_bits(shapes[s][0], shapes[s][1], PLUMB_BF16, PLUMB_F32, s == 3);
        rows_keep_their_bits(shapes[s][0], shapes[s][1], PLUMB_BF16, PLUMB_BF16, s == 4);
    }
}
