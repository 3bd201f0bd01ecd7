/* Rows whose bits do not depend on how many others there are. The library promises nothing of
 * the kind: it picks its code, and how it cuts the sum, by M too (measured: AVX-512 keeps a
 * row's bits for every M; AVX2 changes them in tails of 1 to 3 rows after blocks of six, and for
 * long sums with few columns also between small and large M). So the first product of each shape
 * tries, on this machine and on a slice of that shape, which sizes of M agree to the bit, and M
 * is put together from those. */
#include "kernels/matmul/matmul_library.h"

#include <omp.h>
#include <pthread.h>
#include <string.h>

#include "kernels/simd.h"

/* Sizes of M that agree with each other, in falling order, 0 at the end. `any` = the sizes are a
 * sample of all up to the first, else only they are used: A is then copied into padded blocks. */
struct plan {
    bool any;
    int64_t size[12];
};
static const struct plan plans[] = {
    { true, { 512, 96, 48, 31, 13, 8, 5, 3, 2, 1 } },
    { false, { 192, 96, 48, 24, 12, 6 } },
    { false, { 48 } },
    { false, { 1 } }, /* one row at a time: needs no trial */
};
enum { PLANS = sizeof plans / sizeof *plans, KNOWN = 256, SHIFT = 37, SPARE = 48, SPAN = 16 << 20 };

/* What a verdict depends on; compared as bytes. */
struct key {
    int64_t N, K, lda, ldb;
    int32_t in, out, flags, threads; /* dtypes; trans_b, accumulate, bias dtype; OpenMP's state */
};
_Static_assert(sizeof(struct key) == 4 * sizeof(int64_t) + 4 * sizeof(int32_t),
               "a key has no padding");

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    struct key key;
    const struct plan *plan;
} known[KNOWN]; /* a ring: the oldest verdict gives way, to be found again */
static int64_t verdicts;

static int64_t least(int64_t x, int64_t y) { return x < y ? x : y; }
static int64_t most(int64_t x, int64_t y) { return x > y ? x : y; }

/* Rows of one call at most: a block of A stays under 16 MiB of scratch. A function of K alone. */
static int64_t longest(int64_t K) { return most(48, least(512, (4 << 20) / K)); }

/* Whether A is copied in any case. A's stride matters to the library too; rows too far apart to
 * be tried are packed. */
static bool always_packed(const struct plumb_matmul *a)
{
    return a->trans_a || a->lda > SPAN / (longest(a->K) + SPARE);
}

static struct key key_of(const struct plumb_matmul *a)
{
    const int bias = a->bias.data ? 1 + (int)a->bias.dtype : 0;
    return (struct key){ a->N,
                         a->K,
                         a->lda,
                         a->ldb,
                         (int32_t)a->a.dtype,
                         (int32_t)a->c.dtype,
                         a->trans_b | a->accumulate << 1 | bias << 2,
                         omp_get_max_threads() * 2 + omp_in_parallel() };
}

static const struct plan *recall(const struct key *key)
{
    const struct plan *plan = NULL;
    pthread_mutex_lock(&lock);
    for (int64_t i = 0; i < least(verdicts, KNOWN) && !plan; i++)
        if (!memcmp(&known[i].key, key, sizeof *key)) plan = known[i].plan;
    pthread_mutex_unlock(&lock);
    return plan;
}

static void remember(const struct key *key, const struct plan *plan)
{
    pthread_mutex_lock(&lock);
    known[verdicts % KNOWN].key = *key;
    known[verdicts++ % KNOWN].plan = plan;
    pthread_mutex_unlock(&lock);
}

/* `count` numbers in [-1, 1), the same at every call. */
static void scatter(struct plumb_tensor *t, int64_t count)
{
    uint32_t state = 1;
    for (int64_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        plumb_store(t->data, t->dtype == PLUMB_BF16, i, (float)(int32_t)state * 0x1p-31f);
    }
}

/* One call of `size` rows from row `from` of A: whether its rows equal those of the first call,
 * [0, top). C is `c`. */
static int same(const struct plumb_matmul *t, int64_t size, int64_t from, int64_t top, char *c,
                bool *yes)
{
    const size_t row = (size_t)t->N * plumb_dtype_bytes(t->c.dtype);
    struct plumb_matmul q = *t;
    q.M = size, q.c.data = c;
    q.a.data = (char *)t->a.data + (size_t)(from * t->lda) * plumb_dtype_bytes(t->a.dtype);
    memset(c, 0x3f,
           (size_t)size * row); /* 0.747 in both dtypes: what an accumulation starts from */
    PLUMB_TRY(plumb_matmul_library(&q));
    const int64_t rows = least(size, top - from);
    *yes = rows <= 0 ||
           !memcmp(c, (const char *)t->c.data + (size_t)from * row, (size_t)rows * row);
    return PLUMB_OK;
}

/* Whether rows keep their bits through all of a plan's sizes and places in a block. A stays at
 * `stride`, or is dense in plans that pack it. */
static int holds(struct plumb_matmul *t, const struct plan *plan, int64_t stride, bool *yes)
{
    const int64_t top = least(plan->size[0], longest(t->K));
    char *first = t->c.data, *other = first + (size_t)(top * t->N) * plumb_dtype_bytes(t->c.dtype);
    t->lda = plan->any ? stride : t->K;
    PLUMB_TRY(same(t, top, 0, 0, first, yes));
    for (const int64_t *size = plan->size; *size && *yes; size++) {
        const int64_t s = least(*size, top),
                      runs = most(1, least(most(8, 512 / t->N), 256 / s)); /* narrow: more rows */
        for (int64_t i = 0; i < runs && *yes; i++) {
            const int64_t from = (s == top ? 1 : i) * SHIFT % (top + SPARE - s + 1);
            PLUMB_TRY(same(t, s, from, top, other, yes));
        }
    }
    return PLUMB_OK;
}

/* A product like `a` but with operands of our own and a slice of its columns: about 2^20
 * elements of B. Strides are a's as far as SPAN elements allow. */
static int trial(const struct plumb_matmul *a, struct plumb_arena *s, struct plumb_matmul *t)
{
    const int64_t N = least(a->N, most(64, (1 << 20) / a->K)), K = a->K, M = longest(K),
                  b_rows = a->trans_b ? N : K;
    *t = (struct plumb_matmul){ .struct_bytes = sizeof *t,
                                .N = N,
                                .K = K,
                                .lda = always_packed(a) ? K : a->lda,
                                .ldb = a->trans_b ? K : N,
                                .ldc = N,
                                .trans_b = a->trans_b,
                                .accumulate = a->accumulate };
    if (a->ldb <= SPAN / b_rows) t->ldb = a->ldb;
    const int64_t a_count = (M + SPARE) * t->lda, b_count = b_rows * t->ldb;
    PLUMB_TRY(plumb_matmul_lease(
        (size_t)(a_count + b_count + 2 * M * N + N) * sizeof(float) + 4 * PLUMB_ARENA_ALIGN, s));
    PLUMB_TRY(plumb_arena_tensor(s, a->a.dtype, a_count, &t->a));
    PLUMB_TRY(plumb_arena_tensor(s, a->b.dtype, b_count, &t->b));
    PLUMB_TRY(plumb_arena_tensor(s, PLUMB_F32, 2 * M * N, &t->c));
    if (a->bias.data) {
        PLUMB_TRY(plumb_arena_tensor(s, a->bias.dtype, N, &t->bias));
        scatter(&t->bias, N);
    }
    scatter(&t->a, a_count);
    scatter(&t->b, b_count);
    return PLUMB_OK;
}

/* The first plan that holds on this machine. bf16 results are tried in f32 too, because rounding
 * hides differences. */
static int choose(const struct plumb_matmul *a, const struct plan **plan)
{
    int rc = PLUMB_OK;
    const struct key key = key_of(a);
    struct plumb_arena scratch = { 0 };
    struct plumb_matmul t;
    *plan = recall(&key);
    if (*plan) return PLUMB_OK;
    PLUMB_TRYG(trial(a, &scratch, &t));
    const int64_t stride = t.lda;
    bool yes = false;
    for (int i = 0; i < PLANS && !yes; i++) {
        *plan = &plans[i];
        yes = i == PLANS - 1;
        t.c.dtype = PLUMB_F32;
        if (!yes) PLUMB_TRYG(holds(&t, *plan, stride, &yes));
        t.c.dtype = a->c.dtype;
        if (yes && i < PLANS - 1 && t.c.dtype != PLUMB_F32)
            PLUMB_TRYG(holds(&t, *plan, stride, &yes));
    }
    remember(&key, *plan);
out:
    plumb_matmul_give_back(&scratch);
    return rc;
}

/* Rows of the next call when `left` are left: a size is rounded up where that wastes at most a
 * quarter of it. */
static int64_t next_size(const struct plan *plan, int64_t K, int64_t left)
{
    const int64_t cap = longest(K);
    if (plan->any) return least(cap, left);
    int64_t best = 0;
    for (const int64_t *size = plan->size; *size; size++)
        if (*size <= cap && (!best || 4 * left <= 3 * best)) best = *size;
    return best;
}

/* Rows m .. m + rows of op(A) as a dense block; rows up to `size` are zeroed. */
static void pack(const struct plumb_matmul *a, int64_t m, int64_t rows, int64_t size, char *out)
{
    const size_t e = plumb_dtype_bytes(a->a.dtype), width = (size_t)a->K * e;
    const char *x = a->a.data;
#pragma omp parallel for schedule(static) if (rows * a->K > 65536)
    for (int64_t i = 0; i < rows; i++) {
        char *to = out + (size_t)i * width;
        if (!a->trans_a)
            memcpy(to, x + (size_t)((m + i) * a->lda) * e, width);
        else
            for (int64_t k = 0; k < a->K; k++)
                memcpy(to + (size_t)k * e, x + (size_t)(k * a->lda + m + i) * e, e);
    }
    memset(out + (size_t)rows * width, 0, (size_t)(size - rows) * width);
}

/* Copies rows of C to or from a dense block. */
static void copy_rows(const struct plumb_matmul *a, int64_t m, int64_t rows, char *block, bool back)
{
    const size_t e = plumb_dtype_bytes(a->c.dtype), width = (size_t)a->N * e;
    for (int64_t i = 0; i < rows; i++) {
        char *row = (char *)a->c.data + (size_t)((m + i) * a->ldc) * e;
        if (back)
            memcpy(row, block + (size_t)i * width, width);
        else
            memcpy(block + (size_t)i * width, row, width);
    }
}

/* Rows m .. m + rows as a call of `size` rows: A packed unless it can be used where it is, C by
 * way of scratch when padded. */
static int block(const struct plumb_matmul *a, int64_t m, int64_t rows, int64_t size, bool in_place,
                 char *x, char *y)
{
    struct plumb_matmul q = *a;
    q.M = size;
    q.batch_invariant = false;
    q.c.data = (char *)a->c.data + (size_t)(m * a->ldc) * plumb_dtype_bytes(a->c.dtype);
    if (in_place) {
        q.a.data = (char *)a->a.data + (size_t)(m * a->lda) * plumb_dtype_bytes(a->a.dtype);
        return plumb_matmul_library(&q);
    }
    pack(a, m, rows, size, x);
    q.a.data = x, q.lda = a->K, q.trans_a = false;
    if (size == rows) return plumb_matmul_library(&q);
    q.c.data = y, q.ldc = a->N;
    if (a->accumulate) copy_rows(a, m, rows, y, false);
    PLUMB_TRY(plumb_matmul_library(&q));
    copy_rows(a, m, rows, y, true);
    return PLUMB_OK;
}

int plumb_matmul_rows(const struct plumb_matmul *a)
{
    int rc = PLUMB_OK;
    const struct plan *plan;
    struct plumb_arena scratch = { 0 };
    if (!a->batch_invariant) return plumb_matmul_library(a);
    PLUMB_TRY(choose(a, &plan));
    const bool in_place = plan->any && !always_packed(a);
    const int64_t top = in_place ? 0 : least(longest(a->K), plan->size[0]);
    const size_t x_bytes = (size_t)(top * a->K) * sizeof(float),
                 y_bytes = plan->any ? 0 : (size_t)(top * a->N) * sizeof(float);
    if (!in_place) PLUMB_TRYG(plumb_matmul_lease(x_bytes + y_bytes, &scratch));
    for (int64_t m = 0; m < a->M;) {
        const int64_t size = next_size(plan, a->K, a->M - m), rows = least(size, a->M - m);
        PLUMB_TRYG(block(a, m, rows, size, in_place, scratch.base,
                         scratch.base ? scratch.base + x_bytes : NULL));
        m += rows;
    }
out:
    plumb_matmul_give_back(&scratch);
    return rc;
}
