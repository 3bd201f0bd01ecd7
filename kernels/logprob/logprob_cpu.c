/* Native row work of the head: statistics of a slice of logits, its gradient, and the rows of x
 * and dx. Sums of a row run in fixed lanes and one thread, so that neither the number of threads
 * nor the place of a row changes its bits. Compiled once per instruction set. */
#include <math.h>

#include "kernels/logit_row.h"
#include "kernels/logprob/logprob_plan.h"
#include "kernels/op.h"

enum { LANES = 32, WIDEST = PLUMB_LOGPROB_SLICE };

/* exp underflows to 0 long before: keeps 0 * -inf out of the sums. A NaN passes. */
static inline float above_underflow(float d) { return d < -200.0f ? -200.0f : d; }

static inline int64_t least(int64_t x, int64_t y) { return x < y ? x : y; }

static inline float slope_at(float z, const struct plumb_logit_shape *f)
{
    const float c = z * f->back;
    return f->capped ? f->slope * (1.0f - c * c) : f->slope;
}

/* The largest number; NaN is passed over, -inf if there is nothing else. */
static float largest(const float *z, int64_t n)
{
    float m[LANES], best = -INFINITY;
    int64_t v = 0;
    for (int l = 0; l < LANES; l++)
        m[l] = -INFINITY;
    for (; v + LANES <= n; v += LANES)
        for (int l = 0; l < LANES; l++)
            m[l] = z[v + l] > m[l] ? z[v + l] : m[l];
    for (int l = 0; l < LANES; l++)
        best = m[l] > best ? m[l] : best;
    for (; v < n; v++)
        best = z[v] > best ? z[v] : best;
    return best;
}

struct sums {
    float exp[LANES], weighted[LANES], squares[LANES], total[LANES];
};

/* LANES columns, or what is left of them. */
static inline void add_block(struct sums *s, const float *z, int64_t n, float m, bool all)
{
#pragma omp simd
    for (int64_t l = 0; l < n; l++) {
        const float d = z[l] - m, e = plumb_expf_below(d);
        s->exp[l] += e;
        if (all) {
            s->weighted[l] += e * above_underflow(d);
            s->squares[l] += e * e;
            s->total[l] += z[l];
        }
    }
}

static inline void add_row(struct sums *s, const float *z, int64_t n, float m, bool all)
{
    int64_t v = 0;
    for (; v + LANES <= n; v += LANES)
        add_block(s, z + v, LANES, m, all);
    add_block(s, z + v, n - v, m, all);
}

static double total_of(const float lane[LANES])
{
    double t = 0;
    for (int l = 0; l < LANES; l++)
        t += (double)lane[l];
    return t;
}

/* Moves sums relative to `m` to a new maximum `to` >= m. */
static void rebase(struct plumb_logprob_stat *s, double to)
{
    const double by = s->max - to, f = exp(by);
    if (s->max == -(double)INFINITY) {
        s->max = to; /* nothing counted so far, or NaN, which stays */
        return;
    }
    s->weighted = f * (s->weighted + by * s->sum);
    s->sum *= f;
    s->squares *= f * f;
    s->max = to;
}

static void merge(struct plumb_logprob_stat *s, float max, const struct sums *part)
{
    struct plumb_logprob_stat t = {
        (double)max, total_of(part->exp), total_of(part->weighted), total_of(part->squares), 0, 0
    };
    if (t.max > s->max) rebase(s, t.max);
    if (s->max > t.max) rebase(&t, s->max);
    s->sum += t.sum;
    s->weighted += t.weighted;
    s->squares += t.squares;
    s->total += total_of(part->total);
}

static void row_stats(const struct plumb_logprob_slice *c, int64_t r,
                      const struct plumb_logit_shape *f, bool all)
{
    const struct plumb_logprob *a = c->op;
    const struct plumb_logprob_run *run = &c->run[r];
    float *z = c->z + r * c->width;
    if (!c->is_z) plumb_logit_row(z, c->width, f);
    const float m = largest(z, c->width);
    if (a->argmax && (double)m > c->stat[r].max) {
        int64_t v = 0;
        while (z[v] != m)
            v++;
        c->stat[r].argmax = c->from + v;
    }
    struct sums part = { 0 };
    const float base = m > -INFINITY ? m : 0.0f; /* -inf - -inf would be NaN */
    if (all)
        add_row(&part, z, c->width, base, true);
    else
        add_row(&part, z, c->width, base, false);
    merge(&c->stat[r], m, &part);
    for (int64_t i = run->first; i < run->end && a->logp.data; i++) {
        const int64_t v = a->target[i] - c->from;
        if (v >= 0 && v < c->width) ((float *)a->logp.data)[i] = z[v]; /* until the row is done */
    }
}

int PLUMB_CPU_FN(plumb_logprob_stats_cpu)(const struct plumb_logprob_slice *c)
{
    const struct plumb_logprob *a = c->op;
    const struct plumb_logit_shape f = plumb_logit_shape(a->logit_scale, a->softcap,
                                                         a->temperature);
    const bool all = a->entropy.data || a->log_sum_sq.data || a->mean_logit.data;
#pragma omp parallel for schedule(static) if (plumb_worth_threads(c->rows, c->width))
    for (int64_t r = 0; r < c->rows; r++)
        row_stats(c, r, &f, all);
    return PLUMB_OK;
}

/* out = d loss / d u of a slice of a row, without the targets' own terms. */
static inline void spread(float *out, const float *z, int64_t n, const struct plumb_logprob_grad *g,
                          const struct plumb_logit_shape *f, bool entropy, bool capped)
{
    const float lse = g->lse, mean = g->entropy, uniform = g->uniform;
    const float along_p = g->along_p, dentropy = g->dentropy, slope = f->slope, back = f->back;
#pragma omp simd
    for (int64_t v = 0; v < n; v++) {
        const float d = z[v] - lse, p = plumb_expf_below(d);
        float by_p = along_p;
        if (entropy) by_p -= dentropy * (above_underflow(d) + mean);
        const float t = p * by_p + uniform, c = z[v] * back;
        out[v] = capped ? t * (slope * (1.0f - c * c)) : t * slope;
    }
}

static void row_grad(const struct plumb_logprob_slice *c, int64_t r,
                     const struct plumb_logit_shape *f)
{
    const struct plumb_logprob *a = c->op;
    const struct plumb_logprob_run *run = &c->run[r];
    const struct plumb_logprob_grad *g = &c->grad[r];
    const bool narrow = c->dz.dtype == PLUMB_BF16, entropy = a->dentropy.data != NULL;
    float *z = c->z + r * c->width, buffer[WIDEST];
    float *out = narrow ? buffer : (float *)c->dz.data + r * c->dz_stride;
    if (!c->is_z) plumb_logit_row(z, c->width, f);
    if (f->capped)
        spread(out, z, c->width, g, f, entropy, true);
    else if (entropy)
        spread(out, z, c->width, g, f, true, false);
    else
        spread(out, z, c->width, g, f, false, false);
    for (int64_t i = run->first; i < run->end && a->dlogp.data; i++) {
        const int64_t v = a->target[i] - c->from;
        if (a->target[i] >= 0 && v >= 0 && v < c->width)
            out[v] += ((const float *)a->dlogp.data)[i] * slope_at(z[v], f);
    }
    if (!narrow) return;
    uint16_t *to = (uint16_t *)c->dz.data + r * c->dz_stride;
#pragma omp simd
    for (int64_t v = 0; v < c->width; v++)
        to[v] = plumb_f32_to_bf16(buffer[v]);
}

/* dbias += sums of dz's columns, each in the order of the rows. */
static void add_to_bias(const struct plumb_logprob_slice *c, int64_t from, int64_t end)
{
    float *dbias = (float *)c->op->dbias.data + c->from;
    const bool narrow = c->dz.dtype == PLUMB_BF16;
    for (int64_t r = 0; r < c->rows; r++) {
        const int64_t row = r * c->dz_stride;
#pragma omp simd
        for (int64_t v = from; v < end; v++)
            dbias[v] += plumb_load(c->dz.data, narrow, row + v);
    }
}

int PLUMB_CPU_FN(plumb_logprob_grad_cpu)(const struct plumb_logprob_slice *c)
{
    const struct plumb_logit_shape f = plumb_logit_shape(c->op->logit_scale, c->op->softcap,
                                                         c->op->temperature);
#pragma omp parallel
    {
#pragma omp for schedule(static)
        for (int64_t r = 0; r < c->rows; r++)
            row_grad(c, r, &f);
        if (c->op->dbias.data) {
#pragma omp for schedule(static)
            for (int64_t v = 0; v < c->width; v += LANES)
                add_to_bias(c, v, least(v + LANES, c->width));
        }
    }
    return PLUMB_OK;
}

int PLUMB_CPU_FN(plumb_logprob_gather_cpu)(const struct plumb_logprob_panel *p)
{
    const int64_t H = p->op->H;
    const bool narrow = p->op->x.dtype == PLUMB_BF16;
#pragma omp parallel for schedule(static) if (plumb_worth_threads(p->rows, H))
    for (int64_t r = 0; r < p->rows; r++) {
        const int64_t from = p->run[r].row * H, to = r * H;
        for (int64_t h = 0; h < H; h++)
            if (narrow)
                ((uint16_t *)p->x)[to + h] = ((const uint16_t *)p->op->x.data)[from + h];
            else
                ((float *)p->x)[to + h] = ((const float *)p->op->x.data)[from + h];
    }
    return PLUMB_OK;
}

/* By columns: two runs may name the same row, which then gets both in order. */
int PLUMB_CPU_FN(plumb_logprob_scatter_cpu)(const struct plumb_logprob_panel *p)
{
    const int64_t H = p->op->H;
    void *dx = p->op->dx.data;
    const bool narrow = p->op->dx.dtype == PLUMB_BF16;
#pragma omp parallel for schedule(static)
    for (int64_t h = 0; h < H; h += LANES)
        for (int64_t r = 0; r < p->rows; r++) {
            const int64_t to = p->run[r].row * H, end = least(h + LANES, H);
#pragma omp simd
            for (int64_t k = h; k < end; k++)
                plumb_store(dx, narrow, to + k, plumb_load(dx, narrow, to + k) + p->dx[r * H + k]);
        }
    return PLUMB_OK;
}
