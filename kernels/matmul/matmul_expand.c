/* bf16 products where the library refuses bf16 (AVX2 machines): panels of A and B are expanded
 * to f32 in scratch of at most 12 MiB. f32 holds every bf16, so only speed is lost. Panels are
 * cut by K alone, so a row's bits do not depend on M. */
#include "kernels/matmul/matmul_library.h"
#include "kernels/simd.h"

enum {
    PANEL = 1 << 20,
    DEPTH = 4096,
    EDGE = 1024
}; /* elements of a panel; longest k; longest m and n */

struct panel {
    int64_t m, n, k, M, N, K; /* where it starts, and its size */
};

static int64_t least(int64_t x, int64_t y) { return x < y ? x : y; }

/* Part of a stored bf16 matrix, rows x cols from `at`, as dense f32. */
static void expand(float *out, const uint16_t *x, int64_t at, int64_t stride, int64_t rows,
                   int64_t cols)
{
#pragma omp parallel for schedule(static) if (rows * cols > 65536)
    for (int64_t r = 0; r < rows; r++) {
        const uint16_t *from = x + at + r * stride;
        float *to = out + r * cols;
        for (int64_t c = 0; c < cols; c++)
            to[c] = plumb_bf16_to_f32(from[c]);
    }
}

static void expand_a(const struct plumb_matmul *a, const struct panel *p, float *out)
{
    if (a->trans_a)
        expand(out, a->a.data, p->k * a->lda + p->m, a->lda, p->K, p->M);
    else
        expand(out, a->a.data, p->m * a->lda + p->k, a->lda, p->M, p->K);
}

static void expand_b(const struct plumb_matmul *a, const struct panel *p, float *out)
{
    if (a->trans_b)
        expand(out, a->b.data, p->n * a->ldb + p->k, a->ldb, p->N, p->K);
    else
        expand(out, a->b.data, p->k * a->ldb + p->n, a->ldb, p->K, p->N);
}

/* Rounds a finished panel of sums to bf16; the bias is in it already. */
static void store(const struct plumb_matmul *a, const struct panel *p, const float *sum)
{
#pragma omp parallel for schedule(static) if (p->M * p->N > 65536)
    for (int64_t m = 0; m < p->M; m++) {
        uint16_t *to = (uint16_t *)a->c.data + (p->m + m) * a->ldc + p->n;
        const float *from = sum + m * p->N;
        for (int64_t n = 0; n < p->N; n++)
            to[n] = plumb_f32_to_bf16(a->accumulate ? from[n] + plumb_bf16_to_f32(to[n]) : from[n]);
    }
}

/* One panel: C's panel (in place, or `sum` when C is bf16) gets or adds A's times B's. */
static int multiply(const struct plumb_matmul *a, const struct panel *p, float *x, float *y,
                    float *sum, float *bias)
{
    const bool narrow = a->c.dtype == PLUMB_BF16;
    struct plumb_matmul q = { .struct_bytes = sizeof q,
                              .M = p->M,
                              .N = p->N,
                              .K = p->K,
                              .a = { x, PLUMB_F32 },
                              .b = { y, PLUMB_F32 },
                              .trans_a = a->trans_a,
                              .trans_b = a->trans_b,
                              .lda = a->trans_a ? p->M : p->K,
                              .ldb = a->trans_b ? p->K : p->N,
                              .c = { narrow ? sum : (float *)a->c.data + p->m * a->ldc + p->n,
                                     PLUMB_F32 },
                              .ldc = narrow ? p->N : a->ldc,
                              .accumulate = p->k > 0 || (a->accumulate && !narrow),
                              .batch_invariant = a->batch_invariant };
    if (a->bias.data && p->k == 0) {
        for (int64_t n = 0; n < p->N; n++)
            bias[n] = plumb_load(a->bias.data, a->bias.dtype == PLUMB_BF16, p->n + n);
        q.bias = (struct plumb_tensor){ bias, PLUMB_F32 };
    }
    return plumb_matmul_rows(&q);
}

int plumb_matmul_expanded(const struct plumb_matmul *a)
{
    int rc = PLUMB_OK;
    struct plumb_arena scratch;
    const int64_t depth = least(a->K, DEPTH), edge = least(EDGE, PANEL / depth);
    PLUMB_TRY(plumb_matmul_lease((3 * (size_t)PANEL + EDGE) * sizeof(float), &scratch));
    float *x = (float *)(void *)scratch.base, *y = x + PANEL, *sum = y + PANEL, *bias = sum + PANEL;
    for (int64_t n = 0; n < a->N; n += edge)
        for (int64_t m = 0; m < a->M; m += edge) {
            struct panel p = { .m = m,
                               .n = n,
                               .M = least(edge, a->M - m),
                               .N = least(edge, a->N - n) };
            for (; p.k < a->K; p.k += depth) {
                p.K = least(depth, a->K - p.k);
                expand_a(a, &p, x);
                if (m == 0 || depth < a->K)
                    expand_b(a, &p, y); /* one panel deep: B's is still there */
                PLUMB_TRYG(multiply(a, &p, x, y, sum, bias));
            }
            if (a->c.dtype == PLUMB_BF16) store(a, &p, sum);
        }
out:
    plumb_matmul_give_back(&scratch);
    return rc;
}
