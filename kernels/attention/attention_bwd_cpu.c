/* Native backward of the attention. Scores are computed again from lse; lanes are query rows. With
 * many trees a task owns one tree and kv head and makes dq, dk and dv in one walk. With few, a
 * first pass makes dq by blocks of queries and a second dk and dv by blocks of keys. Both add the
 * same numbers in the same order, so the choice, which looks at the thread count, changes no bit.
 * Nothing is shared between tasks, so nothing is atomic. Compiled once per instruction set. */
#include <omp.h>

#include "kernels/attention/lanes.h"
#include "kernels/op.h"

enum gradients { DQ = 1, DKV = 2 };

/* Query lanes: q (scaled), d_o, dq as (K, LANES), q and d_o also as rows. */
struct state {
    struct lanes b;
    struct panel q, d_o, dq, q_rows, d_rows;
    float lse[LANES], delta[LANES];
};

/* What a task works with besides its query lanes. */
struct room {
    struct panel k, v, p, dp; /* of a tile: (TILE, K), (TILE, LANES) */
    struct state t[GROUP];
};

static void take_room(const struct plumb_attention_plan *p, struct room *m, char *scratch)
{
    const int64_t ld = p->width;
    m->k = take_panel(&scratch, TILE, ld);
    m->v = take_panel(&scratch, TILE, ld);
    m->p = take_panel(&scratch, TILE, LANES);
    m->dp = take_panel(&scratch, TILE, LANES);
    for (int i = 0; i < GROUP; i++) {
        m->t[i].q = take_panel(&scratch, ld, LANES);
        m->t[i].d_o = take_panel(&scratch, ld, LANES);
        m->t[i].dq = take_panel(&scratch, ld, LANES);
        m->t[i].q_rows = take_panel(&scratch, LANES, ld);
        m->t[i].d_rows = take_panel(&scratch, LANES, ld);
    }
}

/* delta = rowsum(d_o * o), in the order of dp's sum: where a row sees one key, dp - delta is
 * exactly 0. */
static void make_delta(const struct plumb_attention_plan *p, struct room *m, struct state *t)
{
    const struct plumb_attention *a = p->a;
    const struct panel o = { m->v.p, LANES };
    load_queries(p, &t->b, &a->o, p->ldo, 1, m->k);
    transpose(o, m->k, t->b.W, m->k.ld);
    for (int64_t k = 0; k < a->K; k++)
        for (int64_t w = 0; w < t->b.W; w += STEP)
#pragma omp simd
            for (int64_t l = w; l < w + STEP; l++)
                t->delta[l] += t->d_o.p[k * LANES + l] * o.p[k * LANES + l];
    for (int64_t l = 0; l < t->b.count; l++)
        p->delta[query_row(p, &t->b, l) * a->Hq + query_head(p, &t->b, l)] = t->delta[l];
}

/* Loads the queries of t->b; `delta` says whether to make it or to take what an earlier pass made.
 * Uses the room's k and v. */
static void begin(const struct plumb_attention_plan *p, struct room *m, struct state *t, bool delta)
{
    const struct plumb_attention *a = p->a;
    load_queries(p, &t->b, &a->q, p->ldq, (float)a->scale, t->q_rows);
    load_queries(p, &t->b, &a->d_o, p->ldo, 1, t->d_rows);
    transpose(t->q, t->q_rows, t->b.W, p->width);
    transpose(t->d_o, t->d_rows, t->b.W, p->width);
    clear(t->dq, p->width);
    memset(t->lse, 0, sizeof t->lse);
    memset(t->delta, 0, sizeof t->delta);
    for (int64_t l = 0; l < t->b.count; l++) {
        const int64_t at = query_row(p, &t->b, l) * a->Hq + query_head(p, &t->b, l);
        t->lse[l] = ((const float *)a->lse.data)[at];
        if (!delta) t->delta[l] = p->delta[at];
    }
    if (delta) make_delta(p, m, t);
}

static void end(const struct plumb_attention_plan *p, struct room *m, struct state *t)
{
    const float scale = (float)p->a->scale;
    for (int64_t i = 0; i < p->width * LANES; i++)
        t->dq.p[i] *= scale;
    store_queries(p, &t->b, t->dq, &p->a->dq, p->ldq, m->k);
}

/* A score becomes its probability, and dp (the gradient of the probability) the gradient of the
 * scaled product. */
static inline __attribute__((always_inline)) void pairs(const struct state *t, struct panel s,
                                                        struct panel dp, int64_t n, float softcap,
                                                        const bool capped)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t w = 0; w < t->b.W; w += STEP)
#pragma omp simd
            for (int64_t l = w; l < w + STEP; l++) {
                float *x = &s.p[i * LANES + l], *y = &dp.p[i * LANES + l];
                const float c = capped ? plumb_tanhf(*x / softcap) : 0.0f;
                const float e = exp_below((capped ? softcap * c : *x) - t->lse[l]);
                const float g = e * (*y - t->delta[l]);
                *y = capped ? g * (1.0f - c * c) : g;
                *x = e;
            }
}

/* Adds what the lanes give to the keys at path positions [pos, pos + n) as segment s sees them. */
static void add_keys(const struct plumb_attention_plan *p, const struct room *m,
                     const struct state *t, int64_t s, int64_t pos, int64_t n)
{
    const struct plumb_forest *f = &p->a->forest;
    const int64_t ld = p->width, N = p->a->N;
    for (int64_t end = pos + n; end > pos; s = f->parent[s]) {
        const int64_t own = p->path_start[s], low = max64(pos, own);
        if (low >= end) continue;
        const int64_t at = (t->b.hk * N + f->start[s] + low - own) * ld, i = low - pos;
        const struct operand dp = { m->dp.p + i * LANES, LANES, 1 };
        const struct operand prob = { m->p.p + i * LANES, LANES, 1 };
        mm((struct panel){ p->dk + at, ld }, dp, t->q_rows, end - low, t->b.count, ld, true);
        mm((struct panel){ p->dv + at, ld }, prob, t->d_rows, end - low, t->b.count, ld, true);
        end = low;
    }
}

/* Takes the keys and values in the room, at path positions [pos, stop) as segment s sees them. */
static void fold_tile(const struct plumb_attention_plan *p, struct room *m, struct state *t,
                      int64_t s, int64_t pos, int64_t stop, enum gradients make)
{
    const int64_t K = p->a->K, W = t->b.W;
    const float softcap = (float)p->a->softcap;
    int64_t n, skip = visible_keys(p, &t->b, pos, stop, &n);
    if (n <= 0) return;
    const float *k = m->k.p + skip * m->k.ld, *v = m->v.p + skip * m->v.ld;
    mm(m->p, (struct operand){ k, m->k.ld, 1 }, t->q, n, K, W, false);
    mm(m->dp, (struct operand){ v, m->v.ld, 1 }, t->d_o, n, K, W, false);
    if (softcap > 0)
        pairs(t, m->p, m->dp, n, softcap, true);
    else
        pairs(t, m->p, m->dp, n, softcap, false);
    hide(p, &t->b, pos + skip, n, m->dp, 0);
    if (make & DQ) mm(t->dq, (struct operand){ k, 1, m->k.ld }, m->dp, K, n, W, true);
    if (!(make & DKV)) return;
    hide(p, &t->b, pos + skip, n, m->p, 0);
    add_keys(p, m, t, s, pos + skip, n);
}

/* dq of up to GROUP blocks of lanes of segment s, from flattened row `first` on, and with DKV what
 * they give to the keys of their path. */
static void run_queries(const struct plumb_attention_plan *p, struct room *m, int64_t s, int64_t hk,
                        int64_t first, enum gradients make)
{
    const struct plumb_attention *a = p->a;
    const int64_t rows = a->forest.length[s] * p->G, window = a->window;
    int64_t n = 0;
    for (int64_t r = first; n < GROUP && r < rows; n++, r += LANES) {
        m->t[n].b = place_lanes(p, s, hk, r, rows);
        begin(p, m, &m->t[n], true);
    }
    const int64_t end_of_path = m->t[n - 1].b.high + 1;
    const int64_t from = window > 0 ? max64(m->t[0].b.low - window + 1, 0) : 0;
    for (int64_t pos = from / TILE * TILE; pos < end_of_path; pos += TILE) {
        const int64_t stop = min64(pos + TILE, end_of_path);
        load_path(p, &a->k, p->ldk, hk, s, pos, stop, m->k);
        load_path(p, &a->v, p->ldv, hk, s, pos, stop, m->v);
        for (int64_t i = 0; i < n; i++)
            fold_tile(p, m, &m->t[i], s, pos, stop, make);
    }
    for (int64_t i = 0; i < n; i++)
        end(p, m, &m->t[i]);
}

/* The segment after s in the subtree of `root`, children in index order, depth first; or -1. */
static int64_t next_segment(const struct plumb_attention_plan *p, int64_t root, int64_t s)
{
    if (p->first_child[s] >= 0) return p->first_child[s];
    while (s != root && p->next_sibling[s] < 0)
        s = p->a->forest.parent[s];
    return s == root ? -1 : p->next_sibling[s];
}

static void clear_keys(const struct plumb_attention_plan *p, int64_t row, int64_t rows, int64_t hk)
{
    const int64_t at = (hk * p->a->N + row) * p->width;
    clear((struct panel){ p->dk + at, p->width }, rows);
    clear((struct panel){ p->dv + at, p->width }, rows);
}

static void store_keys(const struct plumb_attention_plan *p, int64_t row, int64_t rows, int64_t hk)
{
    const struct plumb_attention *a = p->a;
    const int64_t K = a->K, at = (hk * a->N + row) * p->width;
    const struct panel dk = { p->dk + at, p->width }, dv = { p->dv + at, p->width };
    for (int64_t i = 0; i < rows; i++) {
        store_row(dk, i, a->dk.data, p->bf16, (row + i) * p->ldk + hk * K, K);
        store_row(dv, i, a->dv.data, p->bf16, (row + i) * p->ldv + hk * K, K);
    }
}

/* All gradients of one tree and kv head. */
static void run_tree(const struct plumb_attention_plan *p, int64_t root, int64_t hk, char *scratch)
{
    const struct plumb_forest *f = &p->a->forest;
    struct room m;
    take_room(p, &m, scratch);
    for (int64_t s = root; s >= 0; s = next_segment(p, root, s))
        clear_keys(p, f->start[s], f->length[s], hk);
    for (int64_t s = root; s >= 0; s = next_segment(p, root, s))
        for (int64_t r = 0; r < f->length[s] * p->G; r += LANES * GROUP)
            run_queries(p, &m, s, hk, r, DQ | DKV);
    for (int64_t s = root; s >= 0; s = next_segment(p, root, s))
        store_keys(p, f->start[s], f->length[s], hk);
}

static void run_block(const struct plumb_attention_plan *p, const struct plumb_attention_block *q,
                      int64_t hk, char *scratch)
{
    struct room m;
    take_room(p, &m, scratch);
    run_queries(p, &m, q->segment, hk, q->first, DQ);
}

/* dk and dv of a block of keys: its segment's queries and all descendants' walk past it. */
static void run_keys(const struct plumb_attention_plan *p, const struct plumb_attention_block *kb,
                     int64_t hk, char *scratch)
{
    const struct plumb_attention *a = p->a;
    const struct plumb_forest *f = &a->forest;
    const int64_t c = kb->segment, count = min64(TILE, f->length[c] - kb->first);
    const int64_t pos = p->path_start[c] + kb->first, stop = pos + count;
    struct room m;
    take_room(p, &m, scratch);
    struct state *t = &m.t[0];
    clear_keys(p, f->start[c] + kb->first, count, hk);
    load_path(p, &a->k, p->ldk, hk, c, pos, stop, m.k);
    load_path(p, &a->v, p->ldv, hk, c, pos, stop, m.v);
    for (int64_t s = c; s >= 0; s = next_segment(p, c, s)) {
        const int64_t rows = f->length[s] * p->G, skip = max64(pos - p->path_start[s], 0) * p->G;
        for (int64_t r = skip / LANES * LANES; r < rows; r += LANES) {
            t->b = place_lanes(p, s, hk, r, rows);
            if (a->window > 0 && t->b.low >= stop - 1 + a->window) break;
            begin(p, &m, t, false);
            fold_tile(p, &m, t, c, pos, stop, DKV);
        }
    }
    store_keys(p, f->start[c] + kb->first, count, hk);
}

int PLUMB_CPU_FN(plumb_attention_bwd_cpu)(const struct plumb_attention_plan *p)
{
    const int64_t heads = p->a->Hkv, queries = p->query_blocks * heads;
    const int64_t keys = p->key_blocks * heads, trees = p->roots * heads;
    const bool by_tree = p->threads == 1 || trees >= 2 * p->threads;
#pragma omp parallel num_threads(p->threads)
    {
        char *scratch = p->scratch + omp_get_thread_num() * p->scratch_bytes;
        if (by_tree) {
#pragma omp for schedule(dynamic)
            for (int64_t i = 0; i < trees; i++)
                run_tree(p, p->root[i / heads], i % heads, scratch);
        } else { /* the first loop ends before the second begins: it makes delta */
#pragma omp for schedule(dynamic)
            for (int64_t i = queries - 1; i >= 0; i--)
                run_block(p, &p->query_block[i / heads], i % heads, scratch);
#pragma omp for schedule(dynamic)
            for (int64_t i = 0; i < keys; i++)
                run_keys(p, &p->key_block[i / heads], i % heads, scratch);
        }
    }
    return PLUMB_OK;
}
