/* Native forward of the attention: online softmax over tiles at absolute path positions. Compiled
 * once per instruction set. */
#include <math.h>
#include <omp.h>

#include "kernels/attention/lanes.h"
#include "kernels/op.h"

/* Lanes with their running softmax; q and o are (K, LANES). */
struct state {
    struct lanes b;
    struct panel q, o;
    float top[LANES], sum[LANES], shrink[LANES];
};

static void begin(const struct plumb_attention_plan *p, struct state *t, struct panel rows)
{
    clear(t->o, rows.ld);
    load_queries(p, &t->b, &p->a->q, p->ldq, (float)p->a->scale, rows);
    transpose(t->q, rows, t->b.W, rows.ld);
    for (int64_t l = 0; l < LANES; l++) {
        t->top[l] = -INFINITY;
        t->sum[l] = 0;
    }
}

static void end(const struct plumb_attention_plan *p, struct state *t, struct panel rows)
{
    const struct plumb_attention *a = p->a;
    for (int64_t k = 0; k < a->K; k++)
        for (int64_t w = 0; w < t->b.W; w += STEP)
#pragma omp simd
            for (int64_t l = w; l < w + STEP; l++)
                t->o.p[k * LANES + l] /= t->sum[l];
    store_queries(p, &t->b, t->o, &a->o, p->ldo, rows);
    if (!a->lse.data) return;
    for (int64_t l = 0; l < t->b.count; l++) {
        const int64_t at = query_row(p, &t->b, l) * a->Hq + query_head(p, &t->b, l);
        ((float *)a->lse.data)[at] = t->top[l] + logf(t->sum[l]);
    }
}

static void cap(struct panel s, int64_t n, int64_t W, float softcap)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t w = 0; w < W; w += STEP)
#pragma omp simd
            for (int64_t l = i * LANES + w; l < i * LANES + w + STEP; l++)
                s.p[l] = softcap * plumb_tanhf(s.p[l] / softcap);
}

static inline float larger(float a, float b) { return a > b ? a : b; }

static void raise_top(struct state *t, const float *s, int64_t n)
{
    float old[LANES];
    memcpy(old, t->top, sizeof old);
    for (const float *r = s; r < s + n * LANES; r += QUAD * LANES)
        for (int64_t w = 0; w < t->b.W; w += STEP)
#pragma omp simd
            for (int64_t l = w; l < w + STEP; l++) {
                const float a = larger(r[l], r[LANES + l]);
                const float b = larger(r[2 * LANES + l], r[3 * LANES + l]);
                t->top[l] = larger(larger(a, b), t->top[l]);
            }
#pragma omp simd
    for (int64_t l = 0; l < LANES; l++) {
        const float base = t->top[l] == -INFINITY ? 0.0f : t->top[l]; /* nothing seen yet */
        t->shrink[l] = exp_below(old[l] - base);
        t->sum[l] *= t->shrink[l];
    }
}

/* Scores become probabilities relative to each lane's maximum; n is a multiple of four. */
static void soften(struct state *t, float *s, int64_t n)
{
    float base[LANES];
    for (int64_t l = 0; l < LANES; l++)
        base[l] = t->top[l] == -INFINITY ? 0.0f : t->top[l];
    for (float *r = s; r < s + n * LANES; r += QUAD * LANES)
        for (int64_t w = 0; w < t->b.W; w += STEP)
#pragma omp simd
            for (int64_t l = w; l < w + STEP; l++) {
                const float a = r[l] = exp_below(r[l] - base[l]);
                const float b = r[LANES + l] = exp_below(r[LANES + l] - base[l]);
                const float c = r[2 * LANES + l] = exp_below(r[2 * LANES + l] - base[l]);
                const float d = r[3 * LANES + l] = exp_below(r[3 * LANES + l] - base[l]);
                t->sum[l] += (a + b) + (c + d);
            }
}

static void shrink(struct state *t, int64_t K)
{
    bool same = true;
    for (int64_t l = 0; l < t->b.W; l++)
        same = same && t->shrink[l] == 1.0f;
    for (int64_t k = 0; k < K && !same; k++)
        for (int64_t w = 0; w < t->b.W; w += STEP)
#pragma omp simd
            for (int64_t l = w; l < w + STEP; l++)
                t->o.p[k * LANES + l] *= t->shrink[l];
}

/* Takes the keys and values at path positions [pos, stop) into one block of lanes. */
static void fold_tile(const struct plumb_attention_plan *p, struct state *t, struct panel k,
                      struct panel v, int64_t pos, int64_t stop, struct panel s)
{
    const int64_t K = p->a->K, W = t->b.W;
    int64_t n, skip = visible_keys(p, &t->b, pos, stop, &n);
    if (n <= 0) return;
    n = round_up(n, QUAD);
    const struct operand keys = { k.p + skip * k.ld, k.ld, 1 };
    const struct operand values = { v.p + skip * v.ld, 1, v.ld };
    mm(s, keys, t->q, n, K, W, false);
    if (p->a->softcap > 0) cap(s, n, W, (float)p->a->softcap);
    hide(p, &t->b, pos + skip, n, s, -INFINITY);
    raise_top(t, s.p, n);
    soften(t, s.p, n);
    shrink(t, K);
    mm(t->o, values, s, K, n, W, true);
}

static void run_block(const struct plumb_attention_plan *p, const struct plumb_attention_block *q,
                      int64_t hk, char *scratch)
{
    const struct plumb_attention *a = p->a;
    const int64_t s = q->segment, ld = p->width, window = a->window;
    const int64_t rows = (a->q_count ? a->q_count[s] : a->forest.length[s]) * p->G;
    const struct panel k = take_panel(&scratch, TILE, ld), v = take_panel(&scratch, TILE, ld);
    const struct panel score = take_panel(&scratch, TILE, LANES);
    struct state t[GROUP];
    int64_t n = 0;
    for (int64_t r = q->first; n < GROUP && r < rows; n++, r += LANES) {
        t[n].b = place_lanes(p, s, hk, r, rows);
        t[n].q = take_panel(&scratch, ld, LANES);
        t[n].o = take_panel(&scratch, ld, LANES);
        begin(p, &t[n], k);
    }
    const int64_t end_of_path = t[n - 1].b.high + 1;
    const int64_t first = window > 0 ? max64(t[0].b.low - window + 1, 0) : 0;
    for (int64_t pos = first / TILE * TILE; pos < end_of_path; pos += TILE) {
        const int64_t stop = min64(pos + TILE, end_of_path);
        load_path(p, &a->k, p->ldk, hk, s, pos, stop, k);
        load_path(p, &a->v, p->ldv, hk, s, pos, stop, v);
        for (int64_t i = 0; i < n; i++)
            fold_tile(p, &t[i], k, v, pos, stop, score);
    }
    for (int64_t i = 0; i < n; i++)
        end(p, &t[i], k);
}

int PLUMB_CPU_FN(plumb_attention_fwd_cpu)(const struct plumb_attention_plan *p)
{
    const int64_t heads = p->a->Hkv, tasks = p->query_blocks * heads;
    const bool worth = tasks > 1 && plumb_worth_threads(p->a->N, heads * p->a->K);
#pragma omp parallel for schedule(dynamic) num_threads(p->threads) if (worth)
    for (int64_t i = tasks - 1; i >= 0; i--) /* the longest paths come last: start with them */
        run_block(p, &p->query_block[i / heads], i % heads,
                  p->scratch + omp_get_thread_num() * p->scratch_bytes);
    return PLUMB_OK;
}
