/* The fused loss of DPO against the matrix products of its schedule, in one run: three, and four
 * with a reference model whose log-probs are made too. bench/peers/run.py measures other systems
 * beside it. Usage: bench_dpo N H V float32|bfloat16 [repeats]; the last line is JSON. */
#include <plumb/pairwise.h>

#include "bench/head_products.h"

enum { PAIR = 128 }; /* tokens of a pair, half of them chosen */
enum measure { THREE, FUSED, FOUR, WITH_REFERENCE, MEASURES };

static const char *const names[MEASURES] = { "three products, by chunks of whole pairs",
                                             "policy: log-probs, loss, dX and dW",
                                             "four products, the fourth by chunks of forward",
                                             "the same with the reference's log-probs" };

struct dpo {
    struct bench b;
    struct plumb_logprob reference;
    struct plumb_pairwise loss;
    struct plumb_pairwise_term term;
};

static int pairs_ready(void *ctx, int64_t first, int64_t count)
{
    const struct dpo *d = ctx;
    struct plumb_pairwise part;
    PLUMB_TRY(plumb_pairwise_part(&d->loss, d->loss.offset, first, count, &part));
    return plumb_pairwise(&plumb_cpu, &part);
}

static void run(const struct dpo *d, enum measure what)
{
    const struct bench *b = &d->b;
    const int64_t kept = b->plan.kept.rows / PAIR * PAIR;
    if (what == FOUR) products(b, &b->plan.streamed, b->plan.streamed.rows, false);
    if (what == WITH_REFERENCE) must(plumb_logprob_fwd(&plumb_cpu, &d->reference));
    if (what == THREE || what == FOUR)
        products(b, &b->plan.kept, kept, true);
    else
        must(plumb_logprob_fused(&plumb_cpu, &b->a));
}

static void open_loss(struct dpo *d)
{
    const struct plumb_logprob *a = &d->b.a;
    const int64_t B = a->N / PAIR;
    int32_t *offset = take((size_t)(2 * B + 1) * 4);
    for (int64_t s = 0; s <= 2 * B; s++)
        offset[s] = (int32_t)(s * (PAIR / 2));
    d->term = (struct plumb_pairwise_term){ PLUMB_PAIR_SIGMOID, 1 };
    d->loss = (struct plumb_pairwise){ .struct_bytes = sizeof d->loss,
                                       .B = B,
                                       .offset = offset,
                                       .logp = a->logp,
                                       .ref_logp = normal(a->N, PLUMB_F32, 7, 0),
                                       .terms = &d->term,
                                       .term_count = 1,
                                       .beta = 0.1,
                                       .divisor = (double)B,
                                       .losses = normal(B, PLUMB_F32, 8, 0),
                                       .logps = normal(2 * B, PLUMB_F32, 8, 0),
                                       .rewards = normal(2 * B, PLUMB_F32, 8, 0),
                                       .dlogp = a->dlogp };
}

static void open(struct dpo *d, enum plumb_dtype type, int64_t N, int64_t H, int64_t V)
{
    int32_t *row = take((size_t)N * 4), *target = take((size_t)N * 4), *group = take((size_t)N * 4);
    for (int64_t i = 0; i < N; i++)
        row[i] = (int32_t)i, target[i] = (int32_t)(i * 7919 % V);
    for (int64_t g = 0; g <= N / PAIR; g++)
        group[g] = (int32_t)(g * PAIR);
    *d = (struct dpo){ .b.a = { .struct_bytes = sizeof d->b.a,
                                .N = N,
                                .H = H,
                                .V = V,
                                .M = N,
                                .row = row,
                                .target = target,
                                .logit_scale = 1,
                                .temperature = 1,
                                .x = normal(N * H, type, 1, 1),
                                .w = normal(V * H, type, 2, 3 / sqrt((double)H)),
                                .logp = normal(N, PLUMB_F32, 3, 0),
                                .dlogp = normal(N, PLUMB_F32, 4, 0),
                                .dx = normal(N * H, type, 5, 0),
                                .dw = normal(V * H, PLUMB_F32, 6, 0),
                                .group = group,
                                .groups = N / PAIR,
                                .epilogue = pairs_ready,
                                .epilogue_ctx = d } };
    struct plumb_logprob *a = &d->b.a;
    open_loss(d);
    d->b.plan = plumb_logprob_plan(a);
    d->b.scratch = take(d->b.plan.bytes);
    a->work.data = take(d->b.plan.bytes);
    d->reference = *a;
    d->reference.x = normal(N * H, type, 9, 1);
    d->reference.w = normal(V * H, type, 10, 3 / sqrt((double)H));
    d->reference.logp = d->loss.ref_logp;
    d->reference.dx.data = d->reference.dw.data = d->reference.dlogp.data = NULL;
}

static void report(const struct dpo *d, const double best[MEASURES])
{
    const struct plumb_logprob *a = &d->b.a;
    printf("N %lld  H %lld  V %lld  %s, pairs of %d tokens, chunks of %lld rows\n", (long long)a->N,
           (long long)a->H, (long long)a->V, plumb_dtype_name(a->x.dtype), PAIR,
           (long long)(d->b.plan.kept.rows / PAIR * PAIR));
    for (int m = 0; m < MEASURES; m++)
        printf("  %-50s %8.1f ms\n", names[m], 1e3 * best[m]);
    printf("  loss / its products %.3f   with reference %.3f   scratch %.2f MB\n",
           best[FUSED] / best[THREE], best[WITH_REFERENCE] / best[FOUR],
           1e-6 * (double)d->b.plan.bytes);
    printf("{\"three\": %.6f, \"policy\": %.6f, \"four\": %.6f, \"reference\": %.6f, "
           "\"scratch\": %zu}\n",
           best[THREE], best[FUSED], best[FOUR], best[WITH_REFERENCE], d->b.plan.bytes);
}

int main(int argc, char **argv)
{
    const long repeats = argc > 5 ? strtol(argv[5], NULL, 10) : 3;
    const bool narrow = argc > 4 && !strcmp(argv[4], "bfloat16");
    static struct dpo d;
    double best[MEASURES];
    if (argc < 5 || strtol(argv[1], NULL, 10) % PAIR) {
        fprintf(stderr, "bench_dpo: N (of whole pairs, %d tokens), H, V, a dtype\n", PAIR);
        return 2;
    }
    open(&d, narrow ? PLUMB_BF16 : PLUMB_F32, strtol(argv[1], NULL, 10), strtol(argv[2], NULL, 10),
         strtol(argv[3], NULL, 10));
    for (int m = 0; m < MEASURES; m++)
        run(&d, (enum measure)m), best[m] = HUGE_VAL;
    for (long r = 0; r < repeats; r++)
        for (int m = 0; m < MEASURES; m++) {
            const double from = now();
            run(&d, (enum measure)m);
            best[m] = fmin(best[m], now() - from);
        }
    report(&d, best);
    return 0;
}
