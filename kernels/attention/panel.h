/* Micro-kernels of the native attention. Lanes of a vector are rows (of queries, or of keys in the
 * dK/dV pass), and every lane sees the same operations in the same order: a row's bits cannot
 * depend on the rows beside it. */
#pragma once
#include "kernels/attention/plan.h"
#include "kernels/simd.h"

enum {
    LANES = PLUMB_ATTENTION_LANES,
    TILE = PLUMB_ATTENTION_TILE,
    GROUP = PLUMB_ATTENTION_GROUP,
    STEP = 16
};

#if defined(__AVX512F__)
enum { VL = 16, VMAX = 4 };
#elif defined(__AVX__)
enum { VL = 8, VMAX = 2 };
#else
enum { VL = 4, VMAX = 2 };
#endif
/* GCC's vector type: compilers keep arrays of it in registers, which they do not for an omp simd
 * loop. */
typedef float plumb_vec __attribute__((vector_size(VL * 4), aligned(4), may_alias));

/* One matrix A of mm below: element (i, d) stands at p[i * row + d * step]. */
struct operand {
    const float *p;
    int64_t row, step;
};

static inline __attribute__((always_inline)) void mm_block(float *c, struct operand a,
                                                           const float *b, int64_t D, bool add,
                                                           const int R, const int V)
{
    plumb_vec sum[6][4];
#pragma GCC unroll 6
    for (int i = 0; i < R; i++)
#pragma GCC unroll 4
        for (int j = 0; j < V; j++)
            sum[i][j] = (plumb_vec){ 0 };
    for (int64_t d = 0; d < D; d++) {
        const plumb_vec *x = (const plumb_vec *)(b + d * LANES);
#pragma GCC unroll 6
        for (int i = 0; i < R; i++)
#pragma GCC unroll 4
            for (int j = 0; j < V; j++)
                sum[i][j] += a.p[i * a.row + d * a.step] * x[j];
    }
#pragma GCC unroll 6
    for (int i = 0; i < R; i++)
#pragma GCC unroll 4
        for (int j = 0; j < V; j++) {
            plumb_vec *to = (plumb_vec *)(c + i * LANES + j * VL);
            if (add) sum[i][j] += *to;
            *to = sum[i][j];
        }
}

#define MM_COLUMNS(V)                                                                              \
    static __attribute__((noinline)) void mm_columns_##V(                                          \
        float *c, struct operand a, const float *b, int64_t I, int64_t D, bool add)                \
    {                                                                                              \
        int64_t i = 0;                                                                             \
        for (; i + 6 <= I; i += 6, a.p += 6 * a.row)                                               \
            mm_block(c + i * LANES, a, b, D, add, 6, V);                                           \
        for (; i + 2 <= I; i += 2, a.p += 2 * a.row)                                               \
            mm_block(c + i * LANES, a, b, D, add, 2, V);                                           \
        if (i < I) mm_block(c + i * LANES, a, b, D, add, 1, V);                                    \
    }
MM_COLUMNS(1)
MM_COLUMNS(2)
#if defined(__AVX512F__)
MM_COLUMNS(3)
MM_COLUMNS(4)
#endif

/* c(i, lane) = [c(i, lane) +] sum over d < D, in order, of a(i, d) b(d, lane), for i < I and lane <
 * W (a multiple of STEP). Rows of b and c are LANES apart. */
static void mm(float *c, struct operand a, const float *b, int64_t I, int64_t D, int64_t W,
               bool add)
{
    for (int64_t w = 0; w < W;) {
        int64_t left = (W - w) / VL;
#if defined(__AVX512F__)
        if (left >= 4)
            mm_columns_4(c + w, a, b + w, I, D, add), w += 4 * VL;
        else if (left == 3)
            mm_columns_3(c + w, a, b + w, I, D, add), w += 3 * VL;
        else if (left == 2)
            mm_columns_2(c + w, a, b + w, I, D, add), w += 2 * VL;
        else
            mm_columns_1(c + w, a, b + w, I, D, add), w += VL;
#else
        if (left >= 2)
            mm_columns_2(c + w, a, b + w, I, D, add), w += 2 * VL;
        else
            mm_columns_1(c + w, a, b + w, I, D, add), w += VL;
#endif
    }
}

static inline int64_t min64(int64_t x, int64_t y) { return x < y ? x : y; }
static inline int64_t max64(int64_t x, int64_t y) { return x > y ? x : y; }
static inline int64_t whole_steps(int64_t lanes) { return (lanes + STEP - 1) / STEP * STEP; }

/* The row of K floats at element `at`, times `scale`. */
static inline void load_row(float *to, const void *from, bool bf16, int64_t at, int64_t K,
                            float scale)
{
    if (bf16)
        for (int64_t k = 0; k < K; k++)
            to[k] = scale * plumb_load(from, true, at + k);
    else
        for (int64_t k = 0; k < K; k++)
            to[k] = scale * plumb_load(from, false, at + k);
}

/* Panel of path positions [pos, end) as segment s sees them: row t is position pos + t of tensor t,
 * head hk. */
static inline void load_path(const struct plumb_attention_plan *p, const struct plumb_tensor *t,
                             int64_t ld, int64_t hk, int64_t s, int64_t pos, int64_t end,
                             float *panel)
{
    const struct plumb_forest *f = &p->a->forest;
    const int64_t K = p->a->K;
    for (; end > pos; s = f->parent[s]) {
        const int64_t own = p->path_start[s], low = max64(pos, own);
        for (int64_t q = low; q < end; q++)
            load_row(panel + (q - pos) * K, t->data, p->bf16, (f->start[s] + q - own) * ld + hk * K,
                     K, 1.0f);
        end = min64(end, low);
    }
}

/* Rows of K floats to lanes and back: lanes(k, l) = rows(l, k). */
static inline void to_lanes(float *lanes, const float *rows, int64_t count, int64_t K)
{
    for (int64_t l = 0; l < count; l++)
        for (int64_t k = 0; k < K; k++)
            lanes[k * LANES + l] = rows[l * K + k];
}
static inline void from_lanes(float *rows, const float *lanes, int64_t count, int64_t K)
{
    for (int64_t l = 0; l < count; l++)
        for (int64_t k = 0; k < K; k++)
            rows[l * K + k] = lanes[k * LANES + l];
}

/* Up to LANES query rows of a segment for one kv head; row r is query r / G, head r % G of the
 * group. */
struct lanes {
    int64_t s, hk, first, count, W;
    int64_t low, high;      /* path positions of the first and the last query */
    int32_t *hidden, *last; /* (LANES) a lane sees the positions in (hidden, last] */
};

static inline int64_t query_row(const struct plumb_attention_plan *p, const struct lanes *b,
                                int64_t lane)
{
    const struct plumb_attention *a = p->a;
    return (a->q_start ? a->q_start[b->s] : a->forest.start[b->s]) + (b->first + lane) / p->G;
}
static inline int64_t query_head(const struct plumb_attention_plan *p, const struct lanes *b,
                                 int64_t lane)
{
    return b->hk * p->G + (b->first + lane) % p->G;
}

/* Rows of K floats of a query-like tensor (q, o, do), times `scale`. */
static inline void load_queries(const struct plumb_attention_plan *p, const struct lanes *b,
                                const struct plumb_tensor *t, int64_t ld, float scale, float *rows)
{
    const int64_t K = p->a->K;
    for (int64_t l = 0; l < b->count; l++)
        load_row(rows + l * K, t->data, p->bf16, query_row(p, b, l) * ld + query_head(p, b, l) * K,
                 K, scale);
}
static inline void store_queries(const struct plumb_attention_plan *p, const struct lanes *b,
                                 const struct plumb_tensor *t, int64_t ld, const float *rows)
{
    const int64_t K = p->a->K;
    for (int64_t l = 0; l < b->count; l++) {
        const int64_t at = query_row(p, b, l) * ld + query_head(p, b, l) * K;
        for (int64_t k = 0; k < K; k++)
            plumb_store(t->data, p->bf16, at + k, rows[l * K + k]);
    }
}

/* Fills b from its s, hk, first and count; lanes beyond count repeat the last row's limits and are
 * never stored. */
static inline void place_lanes(const struct plumb_attention_plan *p, struct lanes *b)
{
    const struct plumb_forest *f = &p->a->forest;
    const int64_t queries = p->a->q_count ? p->a->q_count[b->s] : f->length[b->s];
    const int64_t base = p->path_start[b->s] + f->length[b->s] - queries, window = p->a->window;
    b->W = whole_steps(b->count);
    b->low = base + b->first / p->G;
    b->high = base + (b->first + b->count - 1) / p->G;
    for (int64_t l = 0; l < LANES; l++) {
        const int64_t pos = base + (b->first + min64(l, b->count - 1)) / p->G;
        b->last[l] = (int32_t)pos;
        b->hidden[l] = (int32_t)(window > 0 ? max64(pos - window, -1) : -1);
    }
}

/* Path positions [*from, *to) of the tile that begins at `pos` which some lane sees; empty when
 * *from >= *to. */
static inline void visible_keys(const struct plumb_attention_plan *p, const struct lanes *b,
                                int64_t pos, int64_t *from, int64_t *to)
{
    const int64_t window = p->a->window;
    *from = max64(pos, window > 0 ? b->low - window + 1 : 0);
    *to = min64(pos + TILE, b->high + 1);
}
/* Whether every lane sees the position. */
static inline bool all_see(const struct plumb_attention_plan *p, const struct lanes *b, int64_t pos)
{
    return pos <= b->low && (p->a->window <= 0 || pos > b->high - p->a->window);
}

static inline float *take_floats(char **scratch, int64_t count)
{
    float *f = (float *)*scratch;
    *scratch += count * (int64_t)sizeof *f;
    return f;
}

/* Puts `value` where a lane does not see the key: s(i, lane) belongs to path position from + i. */
static inline void hide(const struct plumb_attention_plan *p, const struct lanes *b, int64_t from,
                        int64_t n, float *s, float value)
{
    for (int64_t i = 0; i < n; i++) {
        if (all_see(p, b, from + i)) continue;
        const int32_t pos = (int32_t)(from + i);
        for (int64_t w = 0; w < b->W; w += STEP)
#pragma omp simd
            for (int64_t l = w; l < w + STEP; l++)
                s[i * LANES + l] = pos > b->last[l] || pos <= b->hidden[l] ? value
                                                                           : s[i * LANES + l];
    }
}
