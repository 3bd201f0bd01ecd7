/* How rows of queries, keys and values become panels: lanes of a vector are query rows, keys are
 * gathered along a path. */
#pragma once
#include "kernels/attention/mm.h"
#include "kernels/attention/plan.h"

enum {
    LANES = PLUMB_ATTENTION_LANES,
    TILE = PLUMB_ATTENTION_TILE,
    GROUP = PLUMB_ATTENTION_GROUP,
    QUAD = 4 /* keys are taken in fours, counted from the tile's first */
};

static inline int64_t min64(int64_t x, int64_t y) { return x < y ? x : y; }
static inline int64_t max64(int64_t x, int64_t y) { return x > y ? x : y; }
static inline int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

static inline struct panel take_panel(char **scratch, int64_t rows, int64_t ld)
{
    const struct panel c = { (float *)*scratch, ld };
    *scratch += rows * ld * (int64_t)sizeof(float);
    return c;
}
static inline void clear(struct panel c, int64_t rows)
{
    memset(c.p, 0, (size_t)(rows * c.ld) * sizeof(float));
}

/* A row of K floats at element `at`, times `scale`, then zeros up to the panel's width. */
static inline void load_row(struct panel to, int64_t i, const void *from, bool bf16, int64_t at,
                            int64_t K, float scale)
{
    float *row = to.p + i * to.ld;
    if (bf16)
        for (int64_t k = 0; k < K; k++)
            row[k] = scale * plumb_load(from, true, at + k);
    else
        for (int64_t k = 0; k < K; k++)
            row[k] = scale * plumb_load(from, false, at + k);
    for (int64_t k = K; k < to.ld; k++)
        row[k] = 0;
}
static inline void store_row(struct panel from, int64_t i, void *to, bool bf16, int64_t at,
                             int64_t K)
{
    const float *row = from.p + i * from.ld;
    if (bf16)
        for (int64_t k = 0; k < K; k++)
            plumb_store(to, true, at + k, row[k]);
    else
        for (int64_t k = 0; k < K; k++)
            plumb_store(to, false, at + k, row[k]);
}

/* Keys or values at path positions [pos, end) as segment s sees them; zeros fill the last four. */
static inline void load_path(const struct plumb_attention_plan *p, const struct plumb_tensor *t,
                             int64_t ld, int64_t hk, int64_t s, int64_t pos, int64_t end,
                             struct panel to)
{
    const struct plumb_forest *f = &p->a->forest;
    const int64_t K = p->a->K, n = end - pos;
    clear((struct panel){ to.p + n * to.ld, to.ld }, round_up(n, QUAD) - n);
    for (; end > pos; s = f->parent[s]) {
        const int64_t own = p->path_start[s], low = max64(pos, own);
        for (int64_t q = low; q < end; q++)
            load_row(to, q - pos, t->data, p->bf16, (f->start[s] + q - own) * ld + hk * K, K, 1);
        end = min64(end, low);
    }
}

/* Up to LANES query rows of a segment for one kv head; row r is query r / G, head r % G. */
struct lanes {
    int64_t s, hk, first, count, W;     /* W: lanes in use, a multiple of STEP */
    int64_t low, high;                  /* path positions of the first and the last query */
    int32_t hidden[LANES], last[LANES]; /* a lane sees the positions in (hidden, last] */
};

/* Lanes beyond count repeat the last row's limits and are never stored. */
static inline struct lanes place_lanes(const struct plumb_attention_plan *p, int64_t s, int64_t hk,
                                       int64_t first, int64_t end)
{
    const struct plumb_forest *f = &p->a->forest;
    const int64_t queries = p->a->q_count ? p->a->q_count[s] : f->length[s];
    const int64_t base = p->path_start[s] + f->length[s] - queries, window = p->a->window;
    struct lanes b = { .s = s, .hk = hk, .first = first, .count = min64(end - first, LANES) };
    b.W = round_up(b.count, STEP);
    b.low = base + first / p->G;
    b.high = base + (first + b.count - 1) / p->G;
    for (int64_t l = 0; l < LANES; l++) {
        const int64_t pos = base + (first + min64(l, b.count - 1)) / p->G;
        b.last[l] = (int32_t)pos;
        b.hidden[l] = (int32_t)(window > 0 ? max64(pos - window, -1) : -1);
    }
    return b;
}

static inline int64_t query_row(const struct plumb_attention_plan *p, const struct lanes *b,
                                int64_t lane)
{
    const struct plumb_attention *a = p->a;
    const int64_t start = a->q_start ? a->q_start[b->s] : a->forest.start[b->s];
    return start + (b->first + lane) / p->G;
}
static inline int64_t query_head(const struct plumb_attention_plan *p, const struct lanes *b,
                                 int64_t lane)
{
    return b->hk * p->G + (b->first + lane) % p->G;
}

/* Rows of a query-like tensor (q, o, do), times `scale`; zeros up to W rows. */
static inline void load_queries(const struct plumb_attention_plan *p, const struct lanes *b,
                                const struct plumb_tensor *t, int64_t ld, float scale,
                                struct panel to)
{
    const int64_t K = p->a->K;
    for (int64_t l = 0; l < b->count; l++) {
        const int64_t at = query_row(p, b, l) * ld + query_head(p, b, l) * K;
        load_row(to, l, t->data, p->bf16, at, K, scale);
    }
    clear((struct panel){ to.p + b->count * to.ld, to.ld }, b->W - b->count);
}

/* Lanes (K, LANES) become rows of a query-like tensor; `rows` is room for them. */
static inline void store_queries(const struct plumb_attention_plan *p, const struct lanes *b,
                                 struct panel lanes, const struct plumb_tensor *t, int64_t ld,
                                 struct panel rows)
{
    const int64_t K = p->a->K;
    transpose(rows, lanes, rows.ld, b->W);
    for (int64_t l = 0; l < b->count; l++)
        store_row(rows, l, t->data, p->bf16, query_row(p, b, l) * ld + query_head(p, b, l) * K, K);
}

/* Of the keys at path positions [pos, end), those which some lane sees: *n from pos + the result
 * on, the result a multiple of four. None when *n <= 0. */
static inline int64_t visible_keys(const struct plumb_attention_plan *p, const struct lanes *b,
                                   int64_t pos, int64_t end, int64_t *n)
{
    const int64_t window = p->a->window;
    const int64_t skip = window > 0 ? max64(b->low - window + 1 - pos, 0) / QUAD * QUAD : 0;
    *n = min64(end, b->high + 1) - pos - skip;
    return skip;
}

/* Puts `value` where a lane does not see the key: c(i, lane) belongs to path position pos + i. */
static inline void hide(const struct plumb_attention_plan *p, const struct lanes *b, int64_t pos,
                        int64_t n, struct panel c, float value)
{
    const int64_t window = p->a->window;
    for (int64_t i = 0; i < n; i++) {
        if (pos + i <= b->low && (window <= 0 || pos + i > b->high - window)) continue;
        const int32_t at = (int32_t)(pos + i);
        float *row = c.p + i * c.ld;
        for (int64_t w = 0; w < b->W; w += STEP)
#pragma omp simd
            for (int64_t l = w; l < w + STEP; l++)
                row[l] = at > b->last[l] || at <= b->hidden[l] ? value : row[l];
    }
}
