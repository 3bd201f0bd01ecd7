/* Native row work of the divergences: a row's logits of policy and teacher, in slices that fit the
 * nearest cache, become a loss and the gradient of the policy's. Sums run in fixed lanes, f32
 * within a slice and f64 over them. Compiled once per instruction set. */
#include "kernels/distill/distill_eval.h"

#include "kernels/distill/distill_plan.h"
#include "kernels/logit_row.h"
#include "kernels/op.h"

enum { LANES = 16, SLICE = PLUMB_DISTILL_SLICE };

/* A softmax: p = e^(z - top) share, log p = z - top - log_sum. */
struct softmax {
    float top, log_sum, share;
};

static double total_of(const float lane[LANES])
{
    double t = 0;
    for (int l = 0; l < LANES; l++)
        t += (double)lane[l];
    return t;
}

static double sum_of(const float *x, int64_t n)
{
    float lane[LANES] = { 0 };
    int64_t v = 0;
    for (; v + LANES <= n; v += LANES)
        for (int l = 0; l < LANES; l++)
            lane[l] += x[v + l];
    for (int l = 0; v < n; v++, l++)
        lane[l] += x[v];
    return total_of(lane);
}

static struct softmax softmax_of(const float *z, int64_t n)
{
    float top = -INFINITY, e[SLICE];
    double sum = 0;
    for (int64_t v = 0; v < n; v++)
        top = z[v] > top ? z[v] : top; /* NaN is passed over here and found by the sum */
    const float base = top > -INFINITY ? top : 0.0f;
    for (int64_t from = 0; from < n; from += SLICE) {
        const int64_t width = n - from < SLICE ? n - from : SLICE;
#pragma omp simd
        for (int64_t v = 0; v < width; v++)
            e[v] = plumb_expf_below(z[from + v] - base);
        sum += sum_of(e, width);
    }
    const double log_sum = top > -INFINITY ? log(sum) : (double)NAN;
    return (struct softmax){ base, (float)log_sum, (float)(1 / sum) };
}

/* A slice of both distributions and what the formula makes of it. */
struct slice {
    float logp[SLICE], logq[SLICE], p[SLICE], q[SLICE];
    float value[SLICE], slope[SLICE], direct[SLICE];
};

static void chances(float *log_chance, float *chance, const float *z, int64_t n,
                    const struct softmax *s)
{
    const float top = s->top, log_sum = s->log_sum, share = s->share;
#pragma omp simd
    for (int64_t v = 0; v < n; v++) {
        const float d = z[v] - top;
        log_chance[v] = plumb_finite(d - log_sum);
        chance[v] = plumb_expf_below(d) * share;
    }
}

/* Written out for each formula, so that those without transcendental functions become vectors. */
static void evaluate(int id, struct slice *s, int64_t n, float beta, float alpha)
{
    switch (id) {
#define PLUMB_FORMULA(ID, NAME, name, text)                                                        \
    case ID:                                                                                       \
        for (int64_t v = 0; v < n; v++) {                                                          \
            const struct plumb_chance c = {                                                        \
                s->logp[v], s->logq[v], s->p[v], s->q[v], beta, alpha                              \
            };                                                                                     \
            struct plumb_chance_grad g;                                                            \
            s->value[v] = plumb_chance_##name(&c, &g);                                             \
            s->slope[v] = g.slope, s->direct[v] = g.direct;                                        \
        }                                                                                          \
        return;
#include <plumb/distill.def>
#undef PLUMB_FORMULA
    }
}

struct row {
    const struct plumb_distill_chunk *c;
    float *z, *y;
    struct softmax policy, teacher;
    int id;
    float beta, alpha;
};

static int64_t fill(const struct row *r, int64_t from, struct slice *s)
{
    const int64_t left = r->c->vocab - from, n = left < SLICE ? left : SLICE;
    chances(s->logp, s->p, r->z + from, n, &r->policy);
    chances(s->logq, s->q, r->y + from, n, &r->teacher);
    evaluate(r->id, s, n, r->beta, r->alpha);
    return n;
}

/* What a row's divergence comes to. */
struct measured {
    double value, entropy;
    double pull; /* sum of p times the derivative by p */
};

static struct measured measure(const struct row *r, struct slice *s)
{
    struct measured m = { 0 };
    for (int64_t from = 0; from < r->c->vocab; from += SLICE) {
        const int64_t n = fill(r, from, s);
        m.value += sum_of(s->value, n);
#pragma omp simd
        for (int64_t v = 0; v < n; v++) {
            s->direct[v] = plumb_finite(s->p[v] * s->slope[v]) + s->direct[v];
            s->value[v] = s->p[v] * s->logp[v];
        }
        m.pull += sum_of(s->direct, n);
        m.entropy -= sum_of(s->value, n);
    }
    return m;
}

/* z becomes the gradient; a bf16 one starts y's row, whose logits have been read by then. */
static void differentiate(const struct row *r, struct slice *s, float pull, float up,
                          const struct plumb_logit_shape *f)
{
    const bool narrow = r->c->op->policy.x.dtype == PLUMB_BF16;
    for (int64_t from = 0; from < r->c->vocab; from += SLICE) {
        const int64_t n = fill(r, from, s);
        float *z = r->z + from;
#pragma omp simd
        for (int64_t v = 0; v < n; v++) {
            const float g = plumb_finite(s->p[v] * (s->slope[v] - pull)) + s->direct[v];
            const float c = z[v] * f->back;
            s->value[v] = plumb_finite(g * up) * (f->slope * (1.0f - c * c));
        }
        for (int64_t v = 0; v < n; v++)
            if (narrow)
                ((uint16_t *)r->y)[from + v] = plumb_f32_to_bf16(s->value[v]);
            else
                z[v] = s->value[v];
    }
}

static void clear(const struct row *r)
{
    const bool narrow = r->c->op->policy.x.dtype == PLUMB_BF16;
    for (int64_t v = 0; v < r->c->vocab; v++)
        if (narrow)
            ((uint16_t *)r->y)[v] = 0;
        else
            r->z[v] = 0;
}

static void one_row(const struct plumb_distill_chunk *c, int64_t i,
                    const struct plumb_logit_shape *policy, const struct plumb_logit_shape *teacher)
{
    const struct plumb_distill *a = c->op;
    const float weight = a->weight.data ? ((const float *)a->weight.data)[c->first + i] : 1;
    struct row r = { .c = c,
                     .z = c->z + i * c->stride,
                     .y = c->y + i * c->stride,
                     .id = plumb_distill_formula(a),
                     .beta = (float)a->beta,
                     .alpha = (float)a->alpha };
    float *losses = a->losses.data, *entropy = a->entropy.data;
    struct slice s;
    struct measured m = { 0 };
    if (weight == 0) {
        losses[c->first + i] = 0;
        if (entropy) entropy[c->first + i] = 0;
        clear(&r);
        return;
    }
    plumb_logit_row(r.z, c->vocab, policy);
    plumb_logit_row(r.y, c->vocab, teacher);
    r.policy = softmax_of(r.z, c->vocab), r.teacher = softmax_of(r.y, c->vocab);
    m = measure(&r, &s);
    losses[c->first + i] = plumb_saturate((double)weight * m.value);
    if (entropy) entropy[c->first + i] = plumb_saturate(m.entropy);
    const float up = plumb_saturate((double)weight / a->divisor);
    if (c->gradient) differentiate(&r, &s, plumb_saturate(m.pull), up, policy);
}

/* dbias += sums of dz's columns, each in the order of the rows. */
static void add_to_bias(const struct plumb_distill_chunk *c, int64_t from, int64_t end)
{
    const bool narrow = c->op->policy.x.dtype == PLUMB_BF16;
    float *dbias = c->op->dbias.data;
    for (int64_t r = 0; r < c->rows; r++) {
        const void *dz = narrow ? (const void *)(c->y + r * c->stride) : c->z + r * c->stride;
#pragma omp simd
        for (int64_t v = from; v < end; v++)
            dbias[v] += plumb_load(dz, narrow, v);
    }
}

int PLUMB_CPU_FN(plumb_distill_rows_cpu)(const struct plumb_distill_chunk *c)
{
    const struct plumb_logit_shape policy = plumb_distill_shape(c->op, &c->op->policy);
    const struct plumb_logit_shape teacher = plumb_distill_shape(c->op, &c->op->teacher);
#pragma omp parallel
    {
#pragma omp for schedule(static)
        for (int64_t i = 0; i < c->rows; i++)
            one_row(c, i, &policy, &teacher);
        if (c->gradient && c->op->dbias.data) {
#pragma omp for schedule(static)
            for (int64_t v = 0; v < c->vocab; v += SLICE)
                add_to_bias(c, v, v + SLICE < c->vocab ? v + SLICE : c->vocab);
        }
    }
    return PLUMB_OK;
}

int PLUMB_CPU_FN(plumb_distill_gather_cpu)(const struct plumb_distill_panel *p)
{
    const bool narrow = p->whole->dtype == PLUMB_BF16;
#pragma omp parallel for schedule(static) if (plumb_worth_threads(p->rows, p->width))
    for (int64_t r = 0; r < p->rows; r++) {
        const int64_t from = p->row[r] * p->width, to = r * p->width;
        for (int64_t h = 0; h < p->width; h++)
            if (narrow)
                ((uint16_t *)p->x)[to + h] = ((const uint16_t *)p->whole->data)[from + h];
            else
                ((float *)p->x)[to + h] = ((const float *)p->whole->data)[from + h];
    }
    return PLUMB_OK;
}

int PLUMB_CPU_FN(plumb_distill_scatter_cpu)(const struct plumb_distill_panel *p)
{
    const bool narrow = p->whole->dtype == PLUMB_BF16;
#pragma omp parallel for schedule(static) if (plumb_worth_threads(p->rows, p->width))
    for (int64_t r = 0; r < p->rows; r++) {
        const int64_t to = (p->row ? p->row[r] : p->first + r) * p->width;
        for (int64_t h = 0; h < p->width; h++)
            plumb_store(p->whole->data, narrow, to + h, p->dx[r * p->width + h]);
    }
    return PLUMB_OK;
}
