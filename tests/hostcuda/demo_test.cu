/* The demo kernels against double-precision references. demo_test [large]: sizes whose times mean
 * something. Exit status 1: wrong numbers, 3: the executor found a fault. */
#include <chrono>

#include "tests/hostcuda/demo_kernels.h"
#include "tests/hostcuda/selftest.h"
#include "tests/hostcuda/sim_count.h"
typedef __nv_bfloat16 bf16;

static bool large;

/* The bound of an error: `steps` f32 roundings one after the other of numbers up to `scale`. */
static void show(const char *name, double err, double steps, double scale, double sec)
{
    const double bound = steps * 0x1p-24 * scale;
    const bool good = err <= bound;
    (good ? selftest_passed : selftest_failed)++;
    printf("%-26s largest error %-9.3g (bound %.1e) %9.2f ms  %s\n", name, err, bound, sec * 1e3,
           good ? "ok" : "FAIL");
}

static double now()
{
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

static double timed(double start, cudaError_t launched)
{
    if (launched) printf("launch: %s\n", cudaGetErrorString(launched));
    cudaDeviceSynchronize();
    return now() - start;
}
#define RUN(call)                                                                                  \
    const double start = now();                                                                    \
    const double sec = timed(start, call)
#define MIN_BYTES(x) plumb_sim_count_min((double)(x))

static void worst(double *e, double d)
{
    if (!(fabs(d) <= *e)) *e = fabs(d);
}

static double log_prob(const float *row, int V, int target)
{
    double s = 0;
    for (int j = 0; j < V; j++)
        s += exp((double)row[j]);
    return row[target] - log(s);
}

template <class T> static void fill_logits(Dev<T> &x, Dev<int> &t, int V)
{
    x.fill(4);
    for (int &e : t.h)
        e = (int)((selftest_random() + 1) / 2 * (float)(V - 1));
    t.up();
}

template <class T> static double worst_log_prob(const Dev<T> &x, const Dev<int> &t, Dev<float> &got)
{
    const size_t N = t.h.size(), V = x.h.size() / N;
    std::vector<float> row(V);
    double e = 0;
    got.down();
    for (size_t i = 0; i < N; i++) {
        for (size_t j = 0; j < V; j++)
            row[j] = (float)x.h[i * V + j];
        worst(&e, log_prob(row.data(), (int)V, t.h[i]) - got.h[i]);
    }
    return e;
}

static void test_logprob(int N, int V)
{
    Dev<float> x((size_t)N * V), logp(N), lse(N);
    Dev<int> t(N);
    fill_logits(x, t, V);
    MIN_BYTES(4.0 * N * V + 12.0 * N);
    RUN(PLUMB_LAUNCH((logprob_f32<256>), N, 256, 0, 0,
                     (logprob_args{ x.d, t.d, logp.d, lse.d, N, V })));
    show("logprob f32", worst_log_prob(x, t, logp), V / 256 + 32, 16, sec);
}

static void test_logprob_bf16(int N, int V)
{
    Dev<bf16> x((size_t)N * V);
    Dev<float> logp(N);
    Dev<int> t(N);
    fill_logits(x, t, V);
    MIN_BYTES(2.0 * N * V + 8.0 * N);
    RUN(PLUMB_LAUNCH((logprob_bf16<256>), N, 256, 0, 0, x.d, t.d, logp.d, V));
    show("logprob bf16, two reads", worst_log_prob(x, t, logp), V / 256 + 32, 16, sec);
}

static void test_rmsnorm(int N, int D)
{
    Dev<float> x((size_t)N * D), y((size_t)N * D), w(D), rstd(N);
    x.fill(1), w.fill(1);
    for (int regs = 0; regs < 2; regs++) {
        const rmsnorm_args a = { y.d, rstd.d, x.d, w.d, N, D, 1e-6f };
        MIN_BYTES(8.0 * N * D + 4.0 * N + 4.0 * D);
        RUN(regs ? PLUMB_LAUNCH((rmsnorm_fwd_regs<8>), (N + 7) / 8, 256, 0, 0, a)
                 : PLUMB_LAUNCH(rmsnorm_fwd, (N + 7) / 8, 256, 0, 0, a));
        y.down();
        double e = 0;
        for (int i = 0; i < N; i++) {
            double s = 0;
            for (int d = 0; d < D; d++)
                s += (double)x.h[(size_t)i * D + d] * x.h[(size_t)i * D + d];
            for (int d = 0; d < D; d++)
                worst(&e, x.h[(size_t)i * D + d] / sqrt(s / D + 1e-6) * w.h[d] -
                              y.h[(size_t)i * D + d]);
        }
        show(regs ? "rmsnorm, row in registers" : "rmsnorm, two reads", e, D / 32 + 16, 2, sec);
    }
}

static void test_sums(size_t n)
{
    const int blocks = large ? 64 : 7;
    Dev<float> x(n), partial(blocks), sum(1);
    Dev<unsigned char> mask(n);
    Dev<int> count(1);
    x.fill(1);
    double s = 0, all = 0;
    int c = 0;
    for (size_t i = 0; i < n; i++) {
        mask.h[i] = selftest_random() > 0;
        all += x.h[i];
        if (mask.h[i]) s += x.h[i], c++;
    }
    mask.up(), sum.zero(), count.zero();
    {
        MIN_BYTES(4.0 * (double)n + 4.0 * blocks);
        RUN(PLUMB_LAUNCH((block_sum<256>), blocks, 256, 0, 0, x.d, partial.d, n));
        partial.down();
        double t = 0;
        for (float p : partial.h)
            t += p;
        show("block sum", fabs(t - all), (double)n / (blocks * 256) + 32, (double)n / 2, sec);
    }
    MIN_BYTES(4.0 * c + (double)n + 8);
    RUN(PLUMB_LAUNCH(masked_sum, blocks, 256, 0, 0, x.d, mask.d, sum.d, count.d, n));
    sum.down(), count.down();
    CHECK(count.h[0] == c);
    show("masked sum, atomics", fabs(sum.h[0] - s), (double)n / (blocks * 256) + 64, (double)n / 4,
         sec);
}

static void test_gae(int B, int T)
{
    Dev<float> r((size_t)B * T), v((size_t)B * (T + 1)), a((size_t)B * T);
    r.fill(1), v.fill(1);
    MIN_BYTES(4.0 * B * (3.0 * T + 1));
    RUN(PLUMB_LAUNCH((gae<128>), B, 128, 0, 0, r.d, v.d, a.d, T, 0.99f, 0.95f));
    a.down();
    double e = 0;
    for (int b = 0; b < B; b++) {
        double next = 0;
        for (int t = T - 1; t >= 0; t--) {
            const size_t i = (size_t)b * T + t, j = (size_t)b * (T + 1) + t;
            next = r.h[i] + 0.99f * (double)v.h[j + 1] - v.h[j] + (double)(0.99f * 0.95f) * next;
            worst(&e, next - a.h[i]);
        }
    }
    show("GAE reverse scan", e, 64, 20, sec); /* gamma lambda forgets after about 64 steps */
}

static void test_transpose(int rows, int cols)
{
    Dev<float> x((size_t)rows * cols), y((size_t)rows * cols);
    x.fill(1);
    for (int kind = 0; kind < 3; kind++) {
        MIN_BYTES(8.0 * rows * cols);
        RUN(kind == 0 ? PLUMB_LAUNCH(transpose_naive, dim3(rows / 32, cols / 8), dim3(32, 8), 0, 0,
                                     x.d, y.d, rows, cols)
            : kind == 1 ? PLUMB_LAUNCH((transpose<0>), dim3(cols / 32, rows / 32), dim3(32, 8), 0,
                                       0, x.d, y.d, rows, cols)
                        : PLUMB_LAUNCH((transpose<1>), dim3(cols / 32, rows / 32), dim3(32, 8), 0,
                                       0, x.d, y.d, rows, cols));
        y.down();
        double e = 0;
        for (int r = 0; r < rows; r++)
            for (int c = 0; c < cols; c++)
                worst(&e, x.h[(size_t)r * cols + c] - y.h[(size_t)c * rows + r]);
        show(kind == 0   ? "transpose, naive"
             : kind == 1 ? "transpose, tile 32x32"
                         : "transpose, tile 32x33",
             e, 0, 0, sec);
    }
}

static void test_gemm_f32(int M, int N, int K)
{
    Dev<float> a((size_t)M * K), b((size_t)K * N), c((size_t)M * N);
    a.fill(1), b.fill(1);
    MIN_BYTES(4.0 * ((double)M * K + (double)K * N + (double)M * N));
    RUN(PLUMB_LAUNCH(gemm_tiled, dim3(N / 16, M / 16), dim3(16, 16), 2048, 0, a.d, b.d, c.d, N, K));
    c.down();
    double e = 0;
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j += 7) {
            double s = 0;
            for (int k = 0; k < K; k++)
                s += (double)a.h[(size_t)i * K + k] * b.h[(size_t)k * N + j];
            worst(&e, s - c.h[(size_t)i * N + j]);
        }
    show("GEMM f32, dynamic shared", e, K, K / 4.0, sec);
}

static double worst_bf16(const Dev<bf16> &a, const Dev<bf16> &b, Dev<float> &c, int M, int N, int K)
{
    double e = 0;
    c.down();
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j += 7) {
            double s = 0;
            for (int k = 0; k < K; k++)
                s += a.h[(size_t)i * K + k].wide() * b.h[(size_t)j * K + k].wide();
            worst(&e, s - c.h[(size_t)i * N + j]);
        }
    return e;
}

static void test_gemm_bf16(int M, int N, int K)
{
    Dev<bf16> a((size_t)M * K), b((size_t)N * K);
    Dev<float> c((size_t)M * N);
    a.fill(1), b.fill(1);
    for (int ptx = 0; ptx < 2; ptx++) {
        c.zero();
        MIN_BYTES(2.0 * ((double)M * K + (double)K * N) + 4.0 * M * N);
        RUN(ptx ? PLUMB_LAUNCH(gemm_mma, dim3(N / 16, M / 16), 32, 0, 0, a.d, b.d, c.d, N, K)
                : PLUMB_LAUNCH(gemm_wmma, dim3(N / 16, M / 32), dim3(32, 2), 0, 0, a.d, b.d, c.d, N,
                               K, 1.0f));
        show(ptx ? "GEMM bf16, mma + cp.async" : "GEMM bf16, wmma", worst_bf16(a, b, c, M, N, K), K,
             K / 4.0, sec);
    }
}

int main(int argc, char **argv)
{
    large = argc > 1 && !strcmp(argv[1], "large");
    large ? test_logprob(512, 32000) : test_logprob(6, 1000);
    large ? test_logprob_bf16(512, 32000) : test_logprob_bf16(6, 1000);
    test_logprob(large ? 64 : 5, large ? 4096 : 520);
    test_logprob_bf16(large ? 64 : 5, large ? 4096 : 520);
    large ? test_rmsnorm(2048, 1024) : test_rmsnorm(11, 260);
    test_sums(large ? 1 << 22 : 10007);
    large ? test_gae(64, 2000) : test_gae(3, 301);
    large ? test_transpose(1024, 1024) : test_transpose(64, 96);
    large ? test_gemm_f32(512, 512, 512) : test_gemm_f32(64, 48, 80);
    large ? test_gemm_bf16(512, 512, 512) : test_gemm_bf16(64, 48, 80);
    return selftest_end("demo kernels");
}
