/* Timing and ceilings. */
#include "tools/bench.h"

#include <plumb/matmul.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

double plumb_bench_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int plumb_bench_time(int (*run)(void *ctx), void *ctx, int64_t repeats,
                     struct plumb_bench_times *out)
{
    double t[64];
    const int n = (int)(repeats < 64 ? repeats : 64);
    PLUMB_TRY(run(ctx));
    for (int i = 0; i < n; i++) {
        const double start = plumb_bench_now();
        PLUMB_TRY(run(ctx));
        t[i] = plumb_bench_now() - start;
    }
    qsort(t, (size_t)n, sizeof *t, ascending);
    *out = (struct plumb_bench_times){ t[0], t[n / 2], t[n / 5], t[n - 1 - n / 5], n };
    return PLUMB_OK;
}

struct copy {
    char *from, *to;
    int64_t bytes;
};

static int copy(void *ctx)
{
    const struct copy *c = ctx;
    const int64_t block = 1 << 20;
#pragma omp parallel for schedule(static)
    for (int64_t at = 0; at < c->bytes; at += block)
        memcpy(c->to + at, c->from + at, (size_t)block);
    return PLUMB_OK;
}

static int product(void *ctx) { return plumb_matmul(&plumb_cpu, ctx); }

/* C (512,1536) = A (512,576) B^T: a projection of a small model; leading sizes that are no
 * powers of two. */
static int gemm_ceiling(enum plumb_dtype t, char *memory, int64_t repeats, double *out)
{
    const int64_t M = 512, N = 1536, K = 576;
    const struct plumb_matmul a = { .struct_bytes = sizeof a,
                                    .M = M,
                                    .N = N,
                                    .K = K,
                                    .trans_b = true,
                                    .a = { memory, t },
                                    .b = { memory + 8 * M * K, t },
                                    .c = { memory + 8 * (M * K + N * K), PLUMB_F32 } };
    struct plumb_bench_times times;
    PLUMB_TRY(plumb_bench_time(product, (void *)(uintptr_t)&a, repeats, &times));
    *out = 2.0 * (double)(M * N * K) / times.best;
    return PLUMB_OK;
}

int plumb_bench_ceilings(int64_t repeats, struct plumb_ceilings *out)
{
    int rc = PLUMB_OK;
    struct plumb_bench_times times;
    struct copy c = { .bytes = 128 << 20 };
    c.from = calloc(2, (size_t)c.bytes);
    if (!c.from) return plumb_fail(PLUMB_EMEM, "could not allocate the benchmark's buffers");
    c.to = c.from + c.bytes;
    memset(c.from, 1, (size_t)c.bytes); /* small normal numbers in every float type */
    PLUMB_TRYG(plumb_bench_time(copy, &c, repeats, &times));
    out->copy = 2 * (double)c.bytes / times.best;
    PLUMB_TRYG(gemm_ceiling(PLUMB_F32, c.from, 2 * repeats, &out->gemm_f32));
    PLUMB_TRYG(gemm_ceiling(PLUMB_BF16, c.from, 2 * repeats, &out->gemm_bf16));
out:
    free(c.from);
    return rc;
}
