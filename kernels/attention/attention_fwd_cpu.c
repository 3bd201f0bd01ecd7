/* Native forward of the attention: online softmax over tiles at absolute path positions. Compiled
 * once per instruction set. */
#include <math.h>
#include <omp.h>

#include "kernels/attention/panel.h"
#include "kernels/op.h"

/* Lanes with their running softmax. q, o are (K, LANES); the rest (LANES). */
struct state {
    struct lanes b;
    float *q, *o, *top, *sum, *shrink;
};

static void begin(const struct plumb_attention_plan *p, struct state *t, float *rows)
{
    const int64_t K = p->a->K;
    place_lanes(p, &t->b);
    memset(t->q, 0, (size_t)(K * LANES) * sizeof(float));
    memset(t->o, 0, (size_t)(K * LANES) * sizeof(float));
    load_queries(p, &t->b, &p->a->q, p->ldq, (float)p->a->scale, rows);
    to_lanes(t->q, rows, t->b.count, K);
    for (int64_t l = 0; l < LANES; l++) {
        t->top[l] = -INFINITY;
        t->sum[l] = 0;
    }
}

static void end(const struct plumb_attention_plan *p, struct state *t, float *rows)
{
    const struct plumb_attention *a = p->a;
    for (int64_t k = 0; k < a->K; k++)
#pragma omp simd
        for (int64_t l = 0; l < LANES; l++)
            t->o[k * LANES + l] /= t->sum[l];
    from_lanes(rows, t->o, t->b.count, a->K);
    store_queries(p, &t->b, &a->o, p->ldo, rows);
    if (!a->lse.data) return;
    for (int64_t l = 0; l < t->b.count; l++)
        ((float *)a->lse.data)[query_row(p, &t->b, l) * a->Hq + query_head(p, &t->b, l)] =
            t->top[l] + logf(t->sum[l]);
}

static void cap(float *s, int64_t n, int64_t W, float softcap)
{
    for (int64_t t = 0; t < n; t++)
        for (int64_t w = 0; w < W; w += STEP)
#pragma omp simd
            for (int64_t l = w; l < w + STEP; l++)
                s[t * LANES + l] = softcap * plumb_tanhf(s[t * LANES + l] / softcap);
}

/* Scores become probabilities relative to the new maximum of each lane; sum and shrink follow. */
static void soften(struct state *t, float *s, int64_t n, int64_t W)
{
    float old[LANES];
    memcpy(old, t->top, sizeof old);
    for (int64_t i = 0; i < n; i++)
        for (int64_t w = 0; w < W; w += STEP)
#pragma omp simd
            for (int64_t l = w; l < w + STEP; l++)
                t->top[l] = s[i * LANES + l] > t->top[l] ? s[i * LANES + l] : t->top[l];
    float base[LANES];
#pragma omp simd
    for (int64_t l = 0; l < LANES; l++) {
        base[l] = t->top[l] == -INFINITY ? 0.0f : t->top[l]; /* nothing seen yet */
        t->shrink[l] = plumb_expf(old[l] - base[l]);
        t->sum[l] *= t->shrink[l];
    }
    for (int64_t i = 0; i < n; i++)
        for (int64_t w = 0; w < W; w += STEP)
#pragma omp simd
            for (int64_t l = w; l < w + STEP; l++) {
                const float e = plumb_expf(s[i * LANES + l] - base[l]);
                t->sum[l] += e;
                s[i * LANES + l] = e;
            }
}

static void shrink(struct state *t, int64_t K)
{
    bool same = true;
    for (int64_t l = 0; l < LANES; l++)
        same = same && t->shrink[l] == 1.0f;
    for (int64_t k = 0; k < K && !same; k++)
#pragma omp simd
        for (int64_t l = 0; l < LANES; l++)
            t->o[k * LANES + l] *= t->shrink[l];
}

/* Takes the tile at path position `pos` into one block of lanes. */
static void fold_tile(const struct plumb_attention_plan *p, struct state *t, const float *k,
                      const float *v, int64_t pos, float *s)
{
    const int64_t K = p->a->K, W = t->b.W;
    int64_t from, to;
    visible_keys(p, &t->b, pos, &from, &to);
    if (from >= to) return;
    const int64_t n = to - from;
    k += (from - pos) * K;
    v += (from - pos) * K;
    mm(s, (struct operand){ k, K, 1 }, t->q, n, K, W, false);
    if (p->a->softcap > 0) cap(s, n, W, (float)p->a->softcap);
    hide(p, &t->b, from, n, s, -INFINITY);
    soften(t, s, n, W);
    shrink(t, K);
    mm(t->o, (struct operand){ v, 1, K }, s, K, n, W, true);
}

static void run_block(const struct plumb_attention_plan *p, const struct plumb_attention_block *q,
                      int64_t hk, char *scratch)
{
    const struct plumb_attention *a = p->a;
    const int64_t K = a->K, s = q->segment;
    const int64_t rows = (a->q_count ? a->q_count[s] : a->forest.length[s]) * p->G;
    const int64_t count = min64(rows - q->first, LANES * GROUP);
    float *k = take_floats(&scratch, TILE * K), *v = take_floats(&scratch, TILE * K);
    float *score = take_floats(&scratch, TILE * LANES);
    struct state t[GROUP];
    int64_t n = 0;
    for (; n * LANES < count; n++) {
        t[n] = (struct state){ .b = { .s = s,
                                      .hk = hk,
                                      .first = q->first + n * LANES,
                                      .count = min64(count - n * LANES, LANES) } };
        t[n].q = take_floats(&scratch, K * LANES);
        t[n].o = take_floats(&scratch, K * LANES);
        t[n].top = take_floats(&scratch, LANES);
        t[n].sum = take_floats(&scratch, LANES);
        t[n].shrink = take_floats(&scratch, LANES);
        t[n].b.hidden = (int32_t *)take_floats(&scratch, LANES);
        t[n].b.last = (int32_t *)take_floats(&scratch, LANES);
        begin(p, &t[n], k);
    }
    const int64_t last = t[n - 1].b.high, window = a->window;
    const int64_t first = window > 0 ? max64(t[0].b.low - window + 1, 0) : 0;
    for (int64_t pos = first / TILE * TILE; pos <= last; pos += TILE) {
        const int64_t stop = min64(pos + TILE, last + 1);
        load_path(p, &a->k, p->ldk, hk, s, pos, stop, k);
        load_path(p, &a->v, p->ldv, hk, s, pos, stop, v);
        for (int64_t i = 0; i < n; i++)
            fold_tile(p, &t[i], k, v, pos, score);
    }
    for (int64_t i = 0; i < n; i++)
        end(p, &t[i], k);
}

int PLUMB_CPU_FN(plumb_attention_fwd_cpu)(const struct plumb_attention_plan *p)
{
    const int64_t heads = p->a->Hkv, tasks = p->query_blocks * heads;
#pragma omp parallel for schedule(dynamic) num_threads(p->threads)
    for (int64_t i = tasks - 1; i >= 0; i--) /* the longest paths come last: start with them */
        run_block(p, &p->query_block[i / heads], i % heads,
                  p->scratch + omp_get_thread_num() * p->scratch_bytes);
    return PLUMB_OK;
}
