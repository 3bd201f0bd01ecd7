/* The head against the matrix products of its own schedule, in one run: what the row work between
 * the products costs. Usage: bench_head [repeats]. */
#include <math.h>
#include <plumb/logprob.h>
#include <plumb/matmul.h>
#include <plumb/rng.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/logprob/logprob_plan.h"
#include "kernels/simd.h"

enum measure { THREE, FUSED, FOUR, APART, FORWARD_GEMM, FORWARD, DENSE, MEASURES };

static const char *const names[MEASURES] = {
    "three products, by chunks of the fused entry",
    "plumb_logprob_fused",
    "four products, by chunks of the recomputing schedule",
    "plumb_logprob_fwd + bwd",
    "one product, by chunks of forward",
    "plumb_logprob_fwd",
    "three products over all rows and an (N,V) matrix",
};

struct bench {
    struct plumb_logprob a;
    struct plumb_logprob_plan plan;
    char *scratch; /* of the products: laid out as the head's own */
    float *logits; /* (N,V), for DENSE alone */
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void must(int rc)
{
    if (rc == PLUMB_OK) return;
    fprintf(stderr, "bench_head: %s\n", plumb_errmsg());
    exit(1);
}

static void *take(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!p) {
        fprintf(stderr, "bench_head: no memory for %zu bytes\n", bytes);
        exit(1);
    }
    return memset(p, 0, bytes);
}

static struct plumb_tensor normal(int64_t n, enum plumb_dtype type, uint64_t seed, double size)
{
    const struct plumb_tensor t = { take((size_t)n * plumb_dtype_bytes(type)), type };
    const struct plumb_rng_key key = { .seed = seed, .purpose = PLUMB_RNG_TEST };
    for (int64_t i = 0; i < n; i++)
        plumb_store(t.data, type == PLUMB_BF16, i,
                    (float)(size * plumb_rng_normal(&key, (uint64_t)i)));
    return t;
}

static struct plumb_tensor part(const struct plumb_tensor *t, int64_t row, int64_t width)
{
    return (struct plumb_tensor){
        (char *)t->data + (size_t)(row * width) * plumb_dtype_bytes(t->dtype), t->dtype
    };
}

/* The products of one slice: z = x W^T, or dX += dZ W and dW += dZ^T x. */
static void logits_of(const struct bench *b, struct plumb_tensor x, int64_t rows, int64_t from,
                      int64_t width, float *z)
{
    const struct plumb_matmul m = { .struct_bytes = sizeof m,
                                    .M = rows,
                                    .N = width,
                                    .K = b->a.H,
                                    .a = x,
                                    .b = part(&b->a.w, from, b->a.H),
                                    .trans_b = true,
                                    .c = { z, PLUMB_F32 },
                                    .batch_invariant = true };
    must(plumb_matmul(&plumb_cpu, &m));
}

static void gradients_of(const struct bench *b, struct plumb_tensor x, struct plumb_tensor dz,
                         int64_t stride, float *dx, int64_t rows, int64_t from, int64_t width)
{
    const struct plumb_matmul to_x = { .struct_bytes = sizeof to_x,
                                       .M = rows,
                                       .N = b->a.H,
                                       .K = width,
                                       .a = dz,
                                       .lda = stride,
                                       .b = part(&b->a.w, from, b->a.H),
                                       .c = { dx, PLUMB_F32 },
                                       .accumulate = from > 0 };
    const struct plumb_matmul to_w = { .struct_bytes = sizeof to_w,
                                       .M = width,
                                       .N = b->a.H,
                                       .K = rows,
                                       .a = dz,
                                       .lda = stride,
                                       .trans_a = true,
                                       .b = x,
                                       .c = part(&b->a.dw, from, b->a.H),
                                       .accumulate = true };
    must(plumb_matmul(&plumb_cpu, &to_x));
    must(plumb_matmul(&plumb_cpu, &to_w));
}

static int64_t least(int64_t x, int64_t y) { return x < y ? x : y; }

/* One chunk's products; `again`: backward makes the logits too. */
static void chunk(const struct bench *b, const struct plumb_logprob_layout *l, int64_t first,
                  int64_t rows, bool forward, bool backward, bool again)
{
    const struct plumb_logprob_plan *p = &b->plan;
    const struct plumb_tensor x = part(&b->a.x, first, b->a.H);
    const struct plumb_tensor dz = { b->scratch + l->dz, b->a.x.dtype };
    const bool kept = l == &p->kept;
    float *z = (float *)(void *)(b->scratch + l->z), *dx = (float *)(void *)(b->scratch + l->dx);
    for (int64_t v = 0; v < p->vocab && forward; v += p->slice)
        logits_of(b, x, rows, v, least(p->slice, p->vocab - v), kept ? z + v * rows : z);
    for (int64_t v = 0; v < p->vocab && backward; v += p->slice) {
        const int64_t width = least(p->slice, p->vocab - v);
        if (again) logits_of(b, x, rows, v, width, z);
        gradients_of(b, x, dz, p->dz_stride, dx, rows, v, width);
    }
}

static void products(const struct bench *b, const struct plumb_logprob_layout *l, bool backward)
{
    const bool again = l == &b->plan.streamed;
    for (int64_t n = 0; n < b->a.N; n += l->rows)
        chunk(b, l, n, least(l->rows, b->a.N - n), true, backward, again);
}

static void dense(const struct bench *b)
{
    const struct plumb_tensor dz = { b->logits, b->a.x.dtype };
    float *dx = b->a.dx.data;
    logits_of(b, b->a.x, b->a.N, 0, b->a.V, b->logits);
    gradients_of(b, b->a.x, dz, b->a.V, dx, b->a.N, 0, b->a.V);
}

static int ready(void *ctx, int64_t first, int64_t count)
{
    (void)ctx, (void)first, (void)count;
    return PLUMB_OK;
}

static void run(const struct bench *b, enum measure what)
{
    switch (what) {
    case THREE: products(b, &b->plan.kept, true); break;
    case FOUR: products(b, &b->plan.streamed, true); break;
    case FORWARD_GEMM: products(b, &b->plan.streamed, false); break;
    case FUSED: must(plumb_logprob_fused(&plumb_cpu, &b->a)); break;
    case DENSE: dense(b); break;
    default:
        must(plumb_logprob_fwd(&plumb_cpu, &b->a));
        if (what == APART) must(plumb_logprob_bwd(&plumb_cpu, &b->a));
    }
}

/* N pairs in groups of 32, logits with a standard deviation of about 3. */
static void open(struct bench *b, enum plumb_dtype type, int64_t N, int64_t H, int64_t V)
{
    *b = (struct bench){ .a = { .struct_bytes = sizeof b->a,
                                .N = N,
                                .H = H,
                                .V = V,
                                .M = N,
                                .logit_scale = 1,
                                .temperature = 1,
                                .groups = (N + 31) / 32,
                                .epilogue = ready } };
    struct plumb_logprob *a = &b->a;
    int32_t *row = take((size_t)N * 4), *target = take((size_t)N * 4),
            *group = take((size_t)N * 4 + 4);
    for (int64_t i = 0; i < N; i++)
        row[i] = (int32_t)i, target[i] = (int32_t)(i * 7919 % V);
    for (int64_t g = 0; g <= a->groups; g++)
        group[g] = (int32_t)least(32 * g, N);
    a->row = row;
    a->target = target;
    a->group = group;
    a->x = normal(N * H, type, 1, 1);
    a->w = normal(V * H, type, 2, 3 / sqrt((double)H));
    a->logp = normal(N, PLUMB_F32, 3, 0);
    a->lse = normal(N, PLUMB_F32, 3, 0);
    a->dlogp = normal(N, PLUMB_F32, 4, 1.0 / (double)N);
    a->dx = normal(N * H, PLUMB_F32, 5, 0);
    a->dw = normal(V * H, PLUMB_F32, 6, 0);
    b->plan = plumb_logprob_plan(a);
    b->logits = take((size_t)(N * V) * 4);
    b->scratch = take(b->plan.bytes);
    a->work.data = take(b->plan.bytes);
}

static void close_bench(const struct bench *b)
{
    void *const all[] = { b->a.x.data,      b->a.w.data,         b->a.logp.data,     b->a.lse.data,
                          b->a.dlogp.data,  b->a.dx.data,        b->a.dw.data,       b->a.work.data,
                          (void *)b->a.row, (void *)b->a.target, (void *)b->a.group, b->logits,
                          b->scratch };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

static void report(const struct bench *b, const double best[MEASURES])
{
    const struct plumb_logprob *a = &b->a;
    const double product = 2.0 * (double)a->N * (double)a->H * (double)a->V;
    static const double count[MEASURES] = { 3, 3, 4, 4, 1, 1, 3 };
    printf("N %lld  H %lld  V %lld  %s: chunks of %lld rows (fused) and %lld (recomputing)\n",
           (long long)a->N, (long long)a->H, (long long)a->V, plumb_dtype_name(a->x.dtype),
           (long long)b->plan.kept.rows, (long long)b->plan.streamed.rows);
    for (int m = 0; m < MEASURES; m++)
        printf("  %-54s %8.1f ms %7.0f GFLOP/s\n", names[m], 1e3 * best[m],
               1e-9 * count[m] * product / best[m]);
    printf("  fused / its products %.3f   fwd + bwd / its products %.3f   fwd / its product %.3f\n",
           best[FUSED] / best[THREE], best[APART] / best[FOUR], best[FORWARD] / best[FORWARD_GEMM]);
    printf(
        "  fused / three products over all rows %.3f   scratch %.2f MB = 1/%.1f of the logits\n\n",
        best[FUSED] / best[DENSE], 1e-6 * (double)b->plan.bytes,
        4.0 * (double)a->N * (double)a->V / (double)b->plan.bytes);
}

int main(int argc, char **argv)
{
    static const int64_t shapes[][3] = { { 2048, 576, 49152 }, { 512, 2048, 32768 } };
    static const enum plumb_dtype types[] = { PLUMB_F32, PLUMB_BF16 };
    const long repeats = argc > 1 ? strtol(argv[1], NULL, 10) : 5;
    printf("%s, best of %ld interleaved repeats\n\n", plumb_isa_name(plumb_cpu_isa()), repeats);
    for (int s = 0; s < 2; s++)
        for (int t = 0; t < 2; t++) {
            struct bench b;
            double best[MEASURES];
            open(&b, types[t], shapes[s][0], shapes[s][1], shapes[s][2]);
            for (int m = 0; m < MEASURES; m++)
                run(&b, (enum measure)m), best[m] = HUGE_VAL;
            for (long r = 0; r < repeats; r++)
                for (int m = 0; m < MEASURES; m++) {
                    const double from = now();
                    run(&b, (enum measure)m);
                    best[m] = fmin(best[m], now() - from);
                }
            report(&b, best);
            fflush(stdout); /* one shape takes a while */
            close_bench(&b);
        }
    return 0;
}
