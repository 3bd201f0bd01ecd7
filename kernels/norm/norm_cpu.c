/* Native norms: a group at a time, f32 arithmetic in sixteen lanes whose order depends on the
 * column alone. Compiled once per instruction set. */
#include <plumb/norm.h>

#include <math.h>

#include "kernels/norm/norm_blocks.h"
#include "kernels/op.h"
#include "kernels/simd.h"

enum { LANES = 16, CHUNK = 1024, MERGE = 64 };

/* n elements of t from `at` as f32: in place, or converted into buf. */
static inline const float *view(const struct plumb_tensor *t, int64_t at, int64_t n, float *buf)
{
    if (t->dtype != PLUMB_BF16) return (const float *)t->data + at;
    const uint16_t *h = (const uint16_t *)t->data + at;
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        buf[i] = plumb_bf16_to_f32(h[i]);
    return buf;
}

/* Where to write n elements: t itself or buf, which `flush` then rounds into t. */
static inline float *target(const struct plumb_tensor *t, int64_t at, float *buf)
{
    return t->dtype != PLUMB_BF16 ? (float *)t->data + at : buf;
}

static inline void flush(const struct plumb_tensor *t, int64_t at, int64_t n, const float *buf)
{
    if (t->dtype != PLUMB_BF16) return;
    uint16_t *h = (uint16_t *)t->data + at;
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        h[i] = plumb_f32_to_bf16(buf[i]);
}

/* lane[i % LANES] += (v[i] - shift)^power: the order of additions is a function of i, not of the
 * vector width. */
static inline void add_powers(float lane[LANES], const float *v, int64_t n, float shift,
                              bool square)
{
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
#pragma omp simd
        for (int l = 0; l < LANES; l++) {
            const float d = v[i + l] - shift;
            lane[l] += square ? d * d : d;
        }
    for (int l = 0; i < n; i++, l++) {
        const float d = v[i] - shift;
        lane[l] += square ? d * d : d;
    }
}

static inline void add_products(float lane[LANES], const float *u, const float *v, int64_t n)
{
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
#pragma omp simd
        for (int l = 0; l < LANES; l++)
            lane[l] += u[i + l] * v[i + l];
    for (int l = 0; i < n; i++, l++)
        lane[l] += u[i] * v[i];
}

static inline double total(const float lane[LANES])
{
    double s = 0;
    for (int l = 0; l < LANES; l++)
        s += (double)lane[l];
    return s;
}

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Places of one group in the tensors, elements. */
struct place {
    int64_t x, y, flat, stat;
};

static inline struct place locate(const struct plumb_norm *a, int64_t n, int64_t g)
{
    const int64_t row = a->G * a->D;
    return (struct place){ n * (a->ldx ? a->ldx : row) + g * a->D,
                           n * (a->ldy ? a->ldy : row) + g * a->D, n * row + g * a->D,
                           n * a->G + g };
}

/* s = x + delta into `sum`; returns the sum of s, or of its squares. */
static double add_residual(const struct plumb_norm *a, struct place p, bool square)
{
    float lane[LANES] = { 0 }, xbuf[CHUNK], dbuf[CHUNK], sbuf[CHUNK];
    for (int64_t c = 0; c < a->D; c += CHUNK) {
        const int64_t n = least(CHUNK, a->D - c);
        const float *s = view(&a->x, p.x + c, n, xbuf);
        if (a->delta.data) {
            const float *delta = view(&a->delta, p.flat + c, n, dbuf);
            float *out = target(&a->sum, p.flat + c, sbuf);
#pragma omp simd
            for (int64_t i = 0; i < n; i++)
                out[i] = s[i] + delta[i];
            flush(&a->sum, p.flat + c, n, out);
            s = view(&a->sum, p.flat + c, n,
                     sbuf); /* as stored: backward will see the rounded value */
        }
        add_powers(lane, s, n, 0.0f, square);
    }
    return total(lane);
}

static void forward_group(const struct plumb_norm *a, struct place p)
{
    const bool layer = a->kind == PLUMB_NORM_LAYER;
    const struct plumb_tensor *s = a->delta.data ? &a->sum : &a->x;
    const int64_t at = a->delta.data ? p.flat : p.x;
    const double first = add_residual(a, p, !layer);
    const float mean = layer ? (float)(first / (double)a->D) : 0.0f;
    float sbuf[CHUNK], wbuf[CHUNK], bbuf[CHUNK], ybuf[CHUNK];
    double squares = first;
    if (layer) {
        float lane[LANES] = { 0 };
        for (int64_t c = 0; c < a->D; c += CHUNK) {
            const int64_t n = least(CHUNK, a->D - c);
            add_powers(lane, view(s, at + c, n, sbuf), n, mean, true);
        }
        squares = total(lane);
    }
    const float rstd = (float)(1.0 / sqrt(squares / (double)a->D + a->eps)),
                offset = (float)a->offset;
    for (int64_t c = 0; c < a->D; c += CHUNK) {
        const int64_t n = least(CHUNK, a->D - c);
        const float *v = view(s, at + c, n, sbuf), *w = view(&a->w, c, n, wbuf);
        float *y = target(&a->y, p.y + c, ybuf);
        if (a->b.data) {
            const float *b = view(&a->b, c, n, bbuf);
#pragma omp simd
            for (int64_t i = 0; i < n; i++)
                y[i] = (v[i] - mean) * rstd * (w[i] + offset) + b[i];
        } else {
#pragma omp simd
            for (int64_t i = 0; i < n; i++)
                y[i] = (v[i] - mean) * rstd * (w[i] + offset);
        }
        flush(&a->y, p.y + c, n, y);
    }
    if (a->rstd.data) ((float *)a->rstd.data)[p.stat] = rstd;
    if (a->mean.data) ((float *)a->mean.data)[p.stat] = mean;
}

int PLUMB_CPU_FN(plumb_norm_fwd_cpu)(const struct plumb_norm *a)
{
#pragma omp parallel for schedule(static) if (plumb_worth_threads(a->N, a->G * a->D))
    for (int64_t n = 0; n < a->N; n++)
        for (int64_t g = 0; g < a->G; g++)
            forward_group(a, locate(a, n, g));
    return PLUMB_OK;
}

/* Normalised values and the gradient that reaches them, of one chunk. */
static inline void normalised(const struct plumb_norm *a, struct place p, int64_t c, int64_t n,
                              const float **dy, float *dybuf, float *xhat, float *grad)
{
    float sbuf[CHUNK], wbuf[CHUNK];
    const float *s = view(&a->x, p.x + c, n, sbuf), *w = view(&a->w, c, n, wbuf),
                *up = view(&a->dy, p.y + c, n, dybuf);
    const float rstd = ((const float *)a->rstd.data)[p.stat], offset = (float)a->offset;
    const float mean = a->mean.data ? ((const float *)a->mean.data)[p.stat] : 0.0f;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        xhat[i] = (s[i] - mean) * rstd;
        grad[i] = up[i] * (w[i] + offset);
    }
    *dy = up;
}

/* dx of one group, and its share of the partial dw and db. */
static void backward_group(const struct plumb_norm *a, struct place p, float *dw, float *db)
{
    float lane_dot[LANES] = { 0 }, lane_sum[LANES] = { 0 }, xhat[CHUNK], grad[CHUNK], dybuf[CHUNK],
          buf[CHUNK];
    const bool layer = a->kind == PLUMB_NORM_LAYER;
    const float *dy;
    for (int64_t c = 0; c < a->D; c += CHUNK) {
        const int64_t n = least(CHUNK, a->D - c);
        normalised(a, p, c, n, &dy, dybuf, xhat, grad);
        add_products(lane_dot, xhat, grad, n);
        if (layer) add_powers(lane_sum, grad, n, 0.0f, false);
    }
    const float dot = (float)(total(lane_dot) / (double)a->D),
                sum = (float)(total(lane_sum) / (double)a->D);
    const float rstd = ((const float *)a->rstd.data)[p.stat];
    for (int64_t c = 0; c < a->D; c += CHUNK) {
        const int64_t n = least(CHUNK, a->D - c);
        if (a->D > CHUNK) normalised(a, p, c, n, &dy, dybuf, xhat, grad);
        if (dw) {
#pragma omp simd
            for (int64_t i = 0; i < n; i++)
                dw[c + i] += dy[i] * xhat[i];
        }
        if (db) {
#pragma omp simd
            for (int64_t i = 0; i < n; i++)
                db[c + i] += dy[i];
        }
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            grad[i] = rstd * (grad[i] - sum - xhat[i] * dot);
        if (a->dsum.data) {
            const float *dsum = view(&a->dsum, p.flat + c, n, buf);
#pragma omp simd
            for (int64_t i = 0; i < n; i++)
                grad[i] += dsum[i];
        }
        float *dx = target(&a->dx, p.x + c, grad);
        if (dx != grad) memcpy(dx, grad, (size_t)n * sizeof *dx);
        flush(&a->dx, p.x + c, n, grad);
    }
}

/* out[d] += sum over blocks of part[block][d], in index order. */
static void merge(const float *part, int64_t blocks, int64_t stride, int64_t D, float *out)
{
#pragma omp parallel for schedule(static)
    for (int64_t d0 = 0; d0 < D; d0 += MERGE) {
        const int64_t n = least(MERGE, D - d0);
        double s[MERGE] = { 0 };
        for (int64_t b = 0; b < blocks; b++)
            for (int64_t i = 0; i < n; i++)
                s[i] += (double)part[b * stride + d0 + i];
        for (int64_t i = 0; i < n; i++)
            out[d0 + i] = (float)((double)out[d0 + i] + s[i]);
    }
}

int PLUMB_CPU_FN(plumb_norm_bwd_cpu)(const struct plumb_norm *a)
{
    const int64_t blocks = plumb_norm_blocks(a),
                  stride = a->D * (a->kind == PLUMB_NORM_LAYER ? 2 : 1);
    float *part = a->dw.data || a->db.data ? a->work.data : NULL;
#pragma omp parallel for schedule(static)
    for (int64_t block = 0; block < blocks; block++) {
        float *dw = part ? part + block * stride : NULL,
              *db = part && a->db.data ? dw + a->D : NULL;
        if (dw) memset(dw, 0, (size_t)stride * sizeof *dw);
        const int64_t end = least(a->N, (block + 1) * PLUMB_NORM_BLOCK_ROWS);
        for (int64_t n = block * PLUMB_NORM_BLOCK_ROWS; n < end; n++)
            for (int64_t g = 0; g < a->G; g++)
                backward_group(a, locate(a, n, g), a->dw.data ? dw : NULL, db);
    }
    if (a->dw.data) merge(part, blocks, stride, a->D, a->dw.data);
    if (a->db.data) merge(part + a->D, blocks, stride, a->D, a->db.data);
    return PLUMB_OK;
}
