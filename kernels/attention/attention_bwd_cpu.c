/* Native backward of the attention: dq with queries outside (lanes are query rows), then dk and dv
 * with keys outside (lanes are key rows). Scores are computed again from lse; nothing is shared
 * between tasks, so nothing is atomic. Compiled once per instruction set. */
#include <omp.h>

#include "kernels/attention/panel.h"
#include "kernels/op.h"

/* A score s becomes its probability, and dp (the gradient of the probability) the gradient of the
 * scaled product. */
static inline __attribute__((always_inline)) void pair(float *s, float *dp, float lse, float delta,
                                                       float softcap, const bool capped)
{
    const float t = capped ? plumb_tanhf(*s / softcap) : 0.0f;
    const float e = plumb_expf((capped ? softcap * t : *s) - lse);
    const float g = e * (*dp - delta);
    *dp = capped ? g * (1.0f - t * t) : g;
    *s = e;
}

/* Query lanes of the dq pass. q, d_o, dq are (K, LANES), q scaled; lse, delta (LANES). */
struct state {
    struct lanes b;
    float *q, *d_o, *dq, *lse, *delta;
};

static void begin(const struct plumb_attention_plan *p, struct state *t, float *rows)
{
    const struct plumb_attention *a = p->a;
    const int64_t K = a->K;
    place_lanes(p, &t->b);
    memset(t->q, 0, (size_t)(K * LANES) * sizeof(float));
    memset(t->d_o, 0, (size_t)(K * LANES) * sizeof(float));
    load_queries(p, &t->b, &a->q, p->ldq, (float)a->scale, rows);
    to_lanes(t->q, rows, t->b.count, K);
    load_queries(p, &t->b, &a->d_o, p->ldo, 1.0f, rows);
    to_lanes(t->d_o, rows, t->b.count, K);
    load_queries(p, &t->b, &a->o, p->ldo, 1.0f, rows);
    to_lanes(t->dq, rows, t->b.count, K);
    memset(t->delta, 0, LANES * sizeof(float));
    for (int64_t k = 0; k < K;
         k++) /* in the order of dp's sum: where a row sees one key, dp - delta is exactly 0 */
#pragma omp simd
        for (int64_t l = 0; l < LANES; l++)
            t->delta[l] += t->d_o[k * LANES + l] * t->dq[k * LANES + l];
    memset(t->dq, 0, (size_t)(K * LANES) * sizeof(float));
    memset(t->lse, 0, LANES * sizeof(float));
    for (int64_t l = 0; l < t->b.count; l++) {
        const int64_t at = query_row(p, &t->b, l) * a->Hq + query_head(p, &t->b, l);
        t->lse[l] = ((const float *)a->lse.data)[at];
        p->delta[at] = t->delta[l];
    }
}

static void end(const struct plumb_attention_plan *p, struct state *t, float *rows)
{
    const float scale = (float)p->a->scale;
    for (int64_t i = 0; i < p->a->K * LANES; i++)
        t->dq[i] *= scale;
    from_lanes(rows, t->dq, t->b.count, p->a->K);
    store_queries(p, &t->b, &p->a->dq, p->ldq, rows);
}

static inline __attribute__((always_inline)) void query_pairs(const struct state *t, float *s,
                                                              float *dp, int64_t n, float softcap,
                                                              const bool capped)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t w = 0; w < t->b.W; w += STEP)
#pragma omp simd
            for (int64_t l = w; l < w + STEP; l++)
                pair(&s[i * LANES + l], &dp[i * LANES + l], t->lse[l], t->delta[l], softcap,
                     capped);
}

static void fold_tile(const struct plumb_attention_plan *p, struct state *t, const float *k,
                      const float *v, int64_t pos, float *s, float *dp)
{
    const int64_t K = p->a->K, W = t->b.W;
    const float softcap = (float)p->a->softcap;
    int64_t from, to;
    visible_keys(p, &t->b, pos, &from, &to);
    if (from >= to) return;
    const int64_t n = to - from;
    k += (from - pos) * K;
    v += (from - pos) * K;
    mm(s, (struct operand){ k, K, 1 }, t->q, n, K, W, false);
    mm(dp, (struct operand){ v, K, 1 }, t->d_o, n, K, W, false);
    if (softcap > 0)
        query_pairs(t, s, dp, n, softcap, true);
    else
        query_pairs(t, s, dp, n, softcap, false);
    hide(p, &t->b, from, n, dp, 0);
    mm(t->dq, (struct operand){ k, 1, K }, dp, K, n, W, true);
}

static void take_state(const struct plumb_attention_plan *p, struct state *t, char **scratch)
{
    t->q = take_floats(scratch, p->a->K * LANES);
    t->d_o = take_floats(scratch, p->a->K * LANES);
    t->dq = take_floats(scratch, p->a->K * LANES);
    t->lse = take_floats(scratch, LANES);
    t->delta = take_floats(scratch, LANES);
    t->b.hidden = (int32_t *)take_floats(scratch, LANES);
    t->b.last = (int32_t *)take_floats(scratch, LANES);
}

static void run_queries(const struct plumb_attention_plan *p, const struct plumb_attention_block *q,
                        int64_t hk, char *scratch)
{
    const struct plumb_attention *a = p->a;
    const int64_t K = a->K, s = q->segment,
                  count = min64(a->forest.length[s] * p->G - q->first, LANES * GROUP);
    float *k = take_floats(&scratch, TILE * K), *v = take_floats(&scratch, TILE * K);
    float *score = take_floats(&scratch, TILE * LANES), *dp = take_floats(&scratch, TILE * LANES);
    struct state t[GROUP];
    int64_t n = 0;
    for (; n * LANES < count; n++) {
        t[n] = (struct state){ .b = { .s = s,
                                      .hk = hk,
                                      .first = q->first + n * LANES,
                                      .count = min64(count - n * LANES, LANES) } };
        take_state(p, &t[n], &scratch);
        begin(p, &t[n], k);
    }
    const int64_t last = t[n - 1].b.high, window = a->window;
    const int64_t first = window > 0 ? max64(t[0].b.low - window + 1, 0) : 0;
    for (int64_t pos = first / TILE * TILE; pos <= last; pos += TILE) {
        const int64_t stop = min64(pos + TILE, last + 1);
        load_path(p, &a->k, p->ldk, hk, s, pos, stop, k);
        load_path(p, &a->v, p->ldv, hk, s, pos, stop, v);
        for (int64_t i = 0; i < n; i++)
            fold_tile(p, &t[i], k, v, pos, score, dp);
    }
    for (int64_t i = 0; i < n; i++)
        end(p, &t[i], k);
}

/* Key lanes of the dk/dv pass: `count` rows of segment s from path position `low` on. k, v, dk, dv
 * are (K, LANES). */
struct keys {
    int64_t s, hk, row, low, count, W;
    float *k, *v, *dk, *dv;
    float *q, *d_o, *p, *dp, *lse,
        *delta; /* of a chunk of query rows: (LANES, K), (LANES, LANES), (LANES) */
};

static inline __attribute__((always_inline)) void key_pairs(const struct keys *c, int64_t n,
                                                            float softcap, const bool capped)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t w = 0; w < c->W; w += STEP)
#pragma omp simd
            for (int64_t l = w; l < w + STEP; l++)
                pair(&c->p[i * LANES + l], &c->dp[i * LANES + l], c->lse[i], c->delta[i], softcap,
                     capped);
}

/* Zeroes the pairs in which the query at path position `pos` does not see the key lane. */
static void hide_keys(const struct keys *c, int64_t i, int64_t pos, int64_t window)
{
    const int32_t low = (int32_t)c->low, last = (int32_t)pos;
    const int32_t hidden = (int32_t)(window > 0 ? max64(pos - window, -1) : -1);
    for (int64_t w = 0; w < c->W; w += STEP)
#pragma omp simd
        for (int64_t l = w; l < w + STEP; l++) {
            const bool seen = low + (int32_t)l <= last && low + (int32_t)l > hidden;
            c->p[i * LANES + l] = seen ? c->p[i * LANES + l] : 0.0f;
            c->dp[i * LANES + l] = seen ? c->dp[i * LANES + l] : 0.0f;
        }
}

/* Adds what the query rows of b give to the keys. */
static void fold_queries(const struct plumb_attention_plan *p, struct keys *c,
                         const struct lanes *b)
{
    const struct plumb_attention *a = p->a;
    const int64_t K = a->K, n = b->count, W = c->W;
    const float softcap = (float)a->softcap;
    load_queries(p, b, &a->q, p->ldq, (float)a->scale, c->q);
    load_queries(p, b, &a->d_o, p->ldo, 1.0f, c->d_o);
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = query_row(p, b, i) * a->Hq + query_head(p, b, i);
        c->lse[i] = ((const float *)a->lse.data)[at];
        c->delta[i] = p->delta[at];
    }
    mm(c->p, (struct operand){ c->q, K, 1 }, c->k, n, K, W, false);
    mm(c->dp, (struct operand){ c->d_o, K, 1 }, c->v, n, K, W, false);
    if (softcap > 0)
        key_pairs(c, n, softcap, true);
    else
        key_pairs(c, n, softcap, false);
    for (int64_t i = 0; i < n; i++) {
        const int64_t pos = p->path_start[b->s] + (b->first + i) / p->G;
        if (pos < c->low + W - 1 || (a->window > 0 && pos >= c->low + a->window))
            hide_keys(c, i, pos, a->window);
    }
    mm(c->dv, (struct operand){ c->d_o, 1, K }, c->p, K, n, W, true);
    mm(c->dk, (struct operand){ c->q, 1, K }, c->dp, K, n, W, true);
}

/* Walks the queries of segment s that may see the keys, in order. */
static void walk_segment(const struct plumb_attention_plan *p, struct keys *c, int64_t s)
{
    const int64_t own = p->path_start[s], window = p->a->window, length = p->a->forest.length[s];
    const int64_t from = max64(c->low - own, 0);
    const int64_t to = window > 0 ? min64(length, c->low + c->count - 1 + window - own) : length;
    for (int64_t r = from * p->G; r < to * p->G; r += LANES) {
        const struct lanes b = { .s = s,
                                 .hk = c->hk,
                                 .first = r,
                                 .count = min64(LANES, to * p->G - r) };
        fold_queries(p, c, &b);
    }
}

static void store_keys(const struct plumb_attention_plan *p, const struct keys *c,
                       const struct plumb_tensor *t, int64_t ld, const float *lanes, float *rows)
{
    const int64_t K = p->a->K;
    from_lanes(rows, lanes, c->count, K);
    for (int64_t l = 0; l < c->count; l++)
        for (int64_t k = 0; k < K; k++)
            plumb_store(t->data, p->bf16, (c->row + l) * ld + c->hk * K + k, rows[l * K + k]);
}

static void load_keys(const struct plumb_attention_plan *p, const struct keys *c,
                      const struct plumb_tensor *t, int64_t ld, float *lanes, float *rows)
{
    const int64_t K = p->a->K;
    for (int64_t l = 0; l < c->count; l++)
        load_row(rows + l * K, t->data, p->bf16, (c->row + l) * ld + c->hk * K, K, 1.0f);
    memset(lanes, 0, (size_t)(K * LANES) * sizeof(float));
    to_lanes(lanes, rows, c->count, K);
}

static void run_keys(const struct plumb_attention_plan *p, const struct plumb_attention_block *kb,
                     int64_t hk, char *scratch)
{
    const struct plumb_attention *a = p->a;
    const struct plumb_forest *f = &a->forest;
    const int64_t K = a->K, s = kb->segment;
    struct keys c = { .s = s,
                      .hk = hk,
                      .row = f->start[s] + kb->first,
                      .low = p->path_start[s] + kb->first,
                      .count = min64(LANES, f->length[s] - kb->first) };
    c.W = whole_steps(c.count);
    float **const panels[] = { &c.k, &c.v, &c.dk, &c.dv, &c.q, &c.d_o };
    for (size_t i = 0; i < sizeof panels / sizeof *panels; i++)
        *panels[i] = take_floats(&scratch, K * LANES);
    c.p = take_floats(&scratch, LANES * LANES);
    c.dp = take_floats(&scratch, LANES * LANES);
    c.lse = take_floats(&scratch, LANES);
    c.delta = take_floats(&scratch, LANES);
    load_keys(p, &c, &a->k, p->ldk, c.k, c.q);
    load_keys(p, &c, &a->v, p->ldv, c.v, c.q);
    memset(c.dk, 0, (size_t)(K * LANES) * sizeof(float));
    memset(c.dv, 0, (size_t)(K * LANES) * sizeof(float));
    for (int64_t d = s;
         d >= 0;) { /* the segment, then its descendants: children in index order, depth first */
        walk_segment(p, &c, d);
        if (p->first_child[d] >= 0) {
            d = p->first_child[d];
            continue;
        }
        while (d != s && p->next_sibling[d] < 0)
            d = f->parent[d];
        d = d == s ? -1 : p->next_sibling[d];
    }
    store_keys(p, &c, &a->dk, p->ldk, c.dk, c.q);
    store_keys(p, &c, &a->dv, p->ldv, c.dv, c.q);
}

int PLUMB_CPU_FN(plumb_attention_bwd_cpu)(const struct plumb_attention_plan *p)
{
    const int64_t heads = p->a->Hkv, queries = p->query_blocks * heads,
                  keys = p->key_blocks * heads;
#pragma omp parallel num_threads(p->threads)
    {
        char *scratch = p->scratch + omp_get_thread_num() * p->scratch_bytes;
#pragma omp for schedule(dynamic) /* ends before the next begins: delta is made here */
        for (int64_t i = queries - 1; i >= 0; i--)
            run_queries(p, &p->query_block[i / heads], i % heads, scratch);
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < keys; i++)
            run_keys(p, &p->key_block[i / heads], i % heads, scratch);
    }
    return PLUMB_OK;
}
