/* Oracle of the attention: plain loops in f64 over the visible pairs. With another `round`, scores,
 * probabilities and outputs are rounded to it, and sums and statistics to f32 (a 16-bit sum would
 * make the yardstick meaningless). */
#include <plumb/attention.h>

#include <math.h>
#include <string.h>

struct view {
    const struct plumb_attention *a;
    enum plumb_dtype round, wide;
    int64_t K, G, ldq, ldk, ldv, ldo;
};

static double rounded(enum plumb_dtype t, double x)
{
    return t == PLUMB_F64 ? x : plumb_dtype_round(t, x);
}

static struct view view_of(const struct plumb_attention *a, enum plumb_dtype round)
{
    return (struct view){ .a = a,
                          .round = round,
                          .wide = round == PLUMB_F64 ? PLUMB_F64 : PLUMB_F32,
                          .K = a->K,
                          .G = a->Hq / a->Hkv,
                          .ldq = a->ldq ? a->ldq : a->Hq * a->K,
                          .ldk = a->ldk ? a->ldk : a->Hkv * a->K,
                          .ldv = a->ldv ? a->ldv : a->Hkv * a->K,
                          .ldo = a->ldo ? a->ldo : a->Hq * a->K };
}

static double *head(const struct plumb_tensor *t, int64_t row, int64_t ld, int64_t h, int64_t K)
{
    return (double *)t->data + row * ld + h * K;
}

static double dot(const struct view *v, const double *x, const double *y)
{
    double sum = 0;
    if (v->round == PLUMB_F64) {
#pragma omp simd reduction(+ : sum)
        for (int64_t k = 0; k < v->K; k++)
            sum += x[k] * y[k];
        return sum;
    }
    for (int64_t k = 0; k < v->K; k++)
        sum = rounded(v->wide, sum + rounded(v->wide, x[k] * y[k]));
    return sum;
}

static void add(const struct view *v, double *sum, double weight, const double *x)
{
    if (v->round == PLUMB_F64)
        for (int64_t k = 0; k < v->K; k++)
            sum[k] += weight * x[k];
    else
        for (int64_t k = 0; k < v->K; k++)
            sum[k] = rounded(v->wide, sum[k] + rounded(v->wide, weight * x[k]));
}

static void finish(const struct view *v, double *x, double factor)
{
    for (int64_t k = 0; k < v->K; k++)
        x[k] = rounded(v->round, x[k] * factor);
}

static int64_t path_start(const struct plumb_forest *f, int64_t s)
{
    int64_t before = 0;
    for (int64_t p = f->parent[s]; p >= 0; p = f->parent[p])
        before += f->length[p];
    return before;
}

/* The row of path position p seen from segment s, whose own rows begin at path position `own`. */
static int64_t row_at(const struct plumb_forest *f, int64_t s, int64_t own, int64_t p)
{
    while (p < own) {
        s = f->parent[s];
        own -= f->length[s];
    }
    return f->start[s] + p - own;
}

static int64_t first_visible(const struct plumb_attention *a, int64_t p)
{
    return a->window > 0 && p >= a->window ? p - a->window + 1 : 0;
}

static double score(const struct view *v, const double *q, const double *k)
{
    const double s = rounded(v->round, dot(v, q, k) * v->a->scale), cap = v->a->softcap;
    return cap > 0 ? rounded(v->round, cap * rounded(v->round, tanh(rounded(v->round, s / cap))))
                   : s;
}

static void forward_row(const struct view *v, int64_t s, int64_t h, int64_t own, int64_t p,
                        int64_t row)
{
    const struct plumb_attention *a = v->a;
    const double *q = head(&a->q, row, v->ldq, h, v->K);
    double *o = head(&a->o, row, v->ldo, h, v->K);
    double top = -INFINITY, sum = 0;
    memset(o, 0, (size_t)v->K * sizeof *o);
    for (int64_t t = first_visible(a, p); t <= p; t++) {
        const double x = score(v, q,
                               head(&a->k, row_at(&a->forest, s, own, t), v->ldk, h / v->G, v->K));
        top = x > top ? x : top;
    }
    for (int64_t t = first_visible(a, p); t <= p; t++) {
        const int64_t key = row_at(&a->forest, s, own, t);
        const double x = score(v, q, head(&a->k, key, v->ldk, h / v->G, v->K));
        const double w = rounded(v->round, exp(rounded(v->round, x - top)));
        sum = rounded(v->wide, sum + w);
        add(v, o, w, head(&a->v, key, v->ldv, h / v->G, v->K));
    }
    for (int64_t k = 0; k < v->K; k++)
        o[k] = rounded(v->round, o[k] / sum);
    if (a->lse.data)
        ((double *)a->lse.data)[row * a->Hq + h] = rounded(v->wide,
                                                           top + rounded(v->wide, log(sum)));
}

void plumb_attention_fwd_ref(const struct plumb_attention *a, enum plumb_dtype round)
{
    const struct view v = view_of(a, round);
    const struct plumb_forest *f = &a->forest;
#pragma omp parallel for collapse(2) schedule(dynamic)
    for (int64_t s = 0; s < f->S; s++)
        for (int64_t h = 0; h < a->Hq; h++) {
            const int64_t own = path_start(f, s), count = a->q_count ? a->q_count[s] : f->length[s];
            const int64_t first = a->q_start ? a->q_start[s] : f->start[s];
            for (int64_t i = 0; i < count; i++)
                forward_row(&v, s, h, own, own + f->length[s] - count + i, first + i);
        }
}

/* What the backward needs of one query row and head. */
struct query {
    const double *q, *d_o;
    double lse, delta;
};

static struct query query_at(const struct view *v, int64_t row, int64_t h)
{
    const struct plumb_attention *a = v->a;
    struct query r = { .q = head(&a->q, row, v->ldq, h, v->K),
                       .d_o = head(&a->d_o, row, v->ldo, h, v->K),
                       .lse = ((const double *)a->lse.data)[row * a->Hq + h] };
    r.delta = dot(v, r.d_o, head(&a->o, row, v->ldo, h, v->K));
    return r;
}

/* Probability of a pair and the gradient of its scaled score. */
static double pair(const struct view *v, const struct query *r, const double *k, const double *val,
                   double *ds)
{
    const double s = score(v, r->q, k), cap = v->a->softcap;
    const double p = rounded(v->round, exp(rounded(v->round, s - r->lse)));
    const double dp = rounded(v->round, dot(v, r->d_o, val));
    *ds = rounded(v->round, p * rounded(v->round, dp - r->delta));
    if (cap > 0) {
        const double t = rounded(v->round, s / cap);
        *ds = rounded(v->round, *ds * rounded(v->round, 1 - rounded(v->round, t * t)));
    }
    return p;
}

static void backward_query(const struct view *v, int64_t s, int64_t h, int64_t own, int64_t row)
{
    const struct plumb_attention *a = v->a;
    const struct query r = query_at(v, row, h);
    double *dq = head(&a->dq, row, v->ldq, h, v->K);
    const int64_t p = own + row - a->forest.start[s];
    memset(dq, 0, (size_t)v->K * sizeof *dq);
    for (int64_t t = first_visible(a, p); t <= p; t++) {
        const int64_t key = row_at(&a->forest, s, own, t);
        const double *k = head(&a->k, key, v->ldk, h / v->G, v->K);
        double ds;
        pair(v, &r, k, head(&a->v, key, v->ldv, h / v->G, v->K), &ds);
        add(v, dq, ds, k);
    }
    finish(v, dq, a->scale);
}

/* Adds what one query row and head gives to the keys and values of segment c, whose first row has
 * path position own. */
static void backward_keys(const struct view *v, int64_t c, int64_t own, int64_t row, int64_t h,
                          int64_t p)
{
    const struct plumb_attention *a = v->a;
    const struct query r = query_at(v, row, h);
    const int64_t end = own + a->forest.length[c] - 1, last = p < end ? p : end,
                  low = first_visible(a, p);
    for (int64_t t = low > own ? low : own; t <= last; t++) {
        const int64_t key = a->forest.start[c] + t - own;
        double ds;
        const double w = pair(v, &r, head(&a->k, key, v->ldk, h / v->G, v->K),
                              head(&a->v, key, v->ldv, h / v->G, v->K), &ds);
        add(v, head(&a->dk, key, v->ldk, h / v->G, v->K), ds, r.q);
        add(v, head(&a->dv, key, v->ldv, h / v->G, v->K), w, r.d_o);
    }
}

static bool is_on_path(const struct plumb_forest *f, int64_t c, int64_t s)
{
    while (s > c)
        s = f->parent[s];
    return s == c;
}

static void backward_segment(const struct view *v, int64_t c, int64_t hk)
{
    const struct plumb_attention *a = v->a;
    const struct plumb_forest *f = &a->forest;
    const int64_t own = path_start(f, c), start = f->start[c];
    for (int64_t n = start; n < start + f->length[c]; n++) {
        memset(head(&a->dk, n, v->ldk, hk, v->K), 0, (size_t)v->K * sizeof(double));
        memset(head(&a->dv, n, v->ldv, hk, v->K), 0, (size_t)v->K * sizeof(double));
    }
    for (int64_t s = c; s < f->S; s++) {
        if (!is_on_path(f, c, s)) continue;
        const int64_t before = path_start(f, s);
        for (int64_t i = 0; i < f->length[s]; i++)
            for (int64_t g = 0; g < v->G; g++)
                backward_keys(v, c, own, f->start[s] + i, hk * v->G + g, before + i);
    }
    for (int64_t n = start; n < start + f->length[c]; n++) {
        finish(v, head(&a->dk, n, v->ldk, hk, v->K), a->scale);
        finish(v, head(&a->dv, n, v->ldv, hk, v->K), 1);
    }
}

void plumb_attention_bwd_ref(const struct plumb_attention *a, enum plumb_dtype round)
{
    const struct view v = view_of(a, round);
    const struct plumb_forest *f = &a->forest;
#pragma omp parallel for collapse(2) schedule(dynamic)
    for (int64_t s = 0; s < f->S; s++)
        for (int64_t h = 0; h < a->Hq; h++) {
            const int64_t own = path_start(f, s);
            for (int64_t i = 0; i < f->length[s]; i++)
                backward_query(&v, s, h, own, f->start[s] + i);
        }
#pragma omp parallel for collapse(2) schedule(dynamic)
    for (int64_t s = 0; s < f->S; s++)
        for (int64_t hk = 0; hk < a->Hkv; hk++)
            backward_segment(&v, s, hk);
}
