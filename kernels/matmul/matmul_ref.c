/* Oracle of the matrix product. Exact arithmetic's stand-in runs whole models, so that loop is
 * cut into tiles and threads; each element still sums over k in order, so neither changes a bit. */
#include <plumb/matmul.h>

#include <string.h>

enum { TILE = 64, DEPTH = 128, UNIT = 4 };

static int64_t least(int64_t x, int64_t y) { return x < y ? x : y; }

static int64_t stride_a(const struct plumb_matmul *a)
{
    return a->lda ? a->lda : a->trans_a ? a->M : a->K;
}
static int64_t stride_b(const struct plumb_matmul *a)
{
    return a->ldb ? a->ldb : a->trans_b ? a->K : a->N;
}
static int64_t stride_c(const struct plumb_matmul *a) { return a->ldc ? a->ldc : a->N; }

/* What a finished sum becomes: bias and the old C are added after it. */
static double finish(const struct plumb_matmul *a, double sum, double old, int64_t n,
                     enum plumb_dtype round)
{
    if (a->bias.data) sum = plumb_dtype_round(round, sum + ((const double *)a->bias.data)[n]);
    return a->accumulate ? plumb_dtype_round(round, sum + old) : sum;
}

/* out[k][i] = x[i][k] for i < rows, k < depth, where x[i][k] lies at i * si + k * sk; rows up to
 * TILE are zeroed. */
static void pack(double out[DEPTH][TILE], const double *x, int64_t si, int64_t sk, int64_t rows,
                 int64_t depth)
{
    for (int64_t k = 0; k < depth; k++) {
        for (int64_t i = 0; i < rows; i++)
            out[k][i] = x[i * si + k * sk];
        for (int64_t i = rows; i < TILE; i++)
            out[k][i] = 0;
    }
}

/* sum[i][j] += over k of p[k][i] q[k][j] for a block of UNIT x UNIT, held in registers. */
static void multiply(double sum[TILE][TILE], double p[DEPTH][TILE], double q[DEPTH][TILE],
                     int64_t i, int64_t j, int64_t depth)
{
    double s[UNIT][UNIT];
    for (int r = 0; r < UNIT; r++)
        memcpy(s[r], &sum[i + r][j], sizeof s[r]);
    for (int64_t k = 0; k < depth; k++)
        for (int r = 0; r < UNIT; r++)
            for (int c = 0; c < UNIT; c++)
                s[r][c] += p[k][i + r] * q[k][j + c];
    for (int r = 0; r < UNIT; r++)
        memcpy(&sum[i + r][j], s[r], sizeof s[r]);
}

static void tile(const struct plumb_matmul *a, int64_t m, int64_t n)
{
    double p[DEPTH][TILE], q[DEPTH][TILE], sum[TILE][TILE] = { 0 };
    const int64_t lda = stride_a(a), ldb = stride_b(a), ldc = stride_c(a);
    const int64_t rows = least(TILE, a->M - m), cols = least(TILE, a->N - n);
    const int64_t am = a->trans_a ? 1 : lda, ak = a->trans_a ? lda : 1, bn = a->trans_b ? ldb : 1,
                  bk = a->trans_b ? 1 : ldb;
    for (int64_t k = 0; k < a->K; k += DEPTH) {
        const int64_t depth = least(DEPTH, a->K - k);
        pack(p, (const double *)a->a.data + m * am + k * ak, am, ak, rows, depth);
        pack(q, (const double *)a->b.data + n * bn + k * bk, bn, bk, cols, depth);
        for (int64_t i = 0; i < rows; i += UNIT)
            for (int64_t j = 0; j < cols; j += UNIT)
                multiply(sum, p, q, i, j, depth);
    }
    double *c = a->c.data;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++) {
            double *to = &c[(m + i) * ldc + n + j];
            *to = finish(a, sum[i][j], *to, n + j, PLUMB_F64);
        }
}

static void exact(const struct plumb_matmul *a)
{
    const int64_t rows = (a->M + TILE - 1) / TILE, cols = (a->N + TILE - 1) / TILE;
#pragma omp parallel for schedule(static) if (rows * cols > 1)
    for (int64_t t = 0; t < rows * cols; t++)
        tile(a, t / cols * TILE, t % cols * TILE);
}

/* The plain computation in `round`: one rounding per multiply-add, in order. */
static void rounded(const struct plumb_matmul *a, enum plumb_dtype round)
{
    const int64_t lda = stride_a(a), ldb = stride_b(a), ldc = stride_c(a);
    const double *x = a->a.data, *y = a->b.data;
    double *c = a->c.data;
    for (int64_t m = 0; m < a->M; m++)
        for (int64_t n = 0; n < a->N; n++) {
            double sum = 0;
            for (int64_t k = 0; k < a->K; k++) {
                const double p = x[a->trans_a ? k * lda + m : m * lda + k],
                             q = y[a->trans_b ? n * ldb + k : k * ldb + n];
                sum = plumb_dtype_round(round, sum + p * q);
            }
            c[m * ldc + n] = finish(a, sum, c[m * ldc + n], n, round);
        }
}

void plumb_matmul_ref(const struct plumb_matmul *a, enum plumb_dtype round)
{
    if (round == PLUMB_F64)
        exact(a);
    else
        rounded(a, round);
}
