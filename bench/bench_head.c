/* The head against the matrix products of its own schedule, in one run: what the row work between
 * the products costs. Usage: bench_head [repeats]. */
#include "bench/head_products.h"

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
    case THREE: products(b, &b->plan.kept, b->plan.kept.rows, true); break;
    case FOUR: products(b, &b->plan.streamed, b->plan.streamed.rows, true); break;
    case FORWARD_GEMM: products(b, &b->plan.streamed, b->plan.streamed.rows, false); break;
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
