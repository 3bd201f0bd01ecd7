/* The head on the cpu: chunks of rows through matrix products and the row work of logprob_cpu.c.
 * See logprob_plan.h for the schedule. */
#include <math.h>
#include <plumb/matmul.h>
#include <plumb/sample.h>
#include <string.h>

#include "kernels/logprob/logprob_plan.h"
#include "kernels/op.h"

PLUMB_CPU_DECLARE(plumb_logprob_stats_cpu, plumb_logprob_slice);
PLUMB_CPU_DECLARE(plumb_logprob_grad_cpu, plumb_logprob_slice);
PLUMB_CPU_DECLARE(plumb_logprob_gather_cpu, plumb_logprob_panel);
PLUMB_CPU_DECLARE(plumb_logprob_scatter_cpu, plumb_logprob_panel);

struct chunk {
    struct plumb_logprob a; /* the caller's, with lse and entropy always somewhere */
    struct plumb_logprob_plan plan;
    bool kept;                             /* all slices lie in the tile */
    const struct plumb_logprob_layout *at; /* of this kind of chunk */
    int64_t first, end;                    /* pairs */
    int64_t rows;
    char *scratch;
    struct plumb_logprob_run *run;
    struct plumb_logprob_stat *stat;
    struct plumb_logprob_grad *grad;
};

static int64_t least(int64_t x, int64_t y) { return x < y ? x : y; }

static void *row_of(const struct plumb_tensor *t, int64_t row, int64_t width)
{
    return (char *)t->data + (size_t)(row * width) * plumb_dtype_bytes(t->dtype);
}

static float at(const struct plumb_tensor *t, int64_t i)
{
    return t->data ? ((const float *)t->data)[i] : 0.0f;
}

static void put(const struct plumb_tensor *t, int64_t i, double v)
{
    if (t->data) ((float *)t->data)[i] = (float)v;
}

static void begin(struct chunk *c, const struct plumb_logprob *a)
{
    *c = (struct chunk){ .a = *a, .plan = plumb_logprob_plan(a) };
    const uintptr_t start = (uintptr_t)a->work.data;
    c->scratch = (char *)a->work.data + (64 - start % 64) % 64;
    c->run = (void *)(c->scratch + c->plan.runs);
    c->stat = (void *)(c->scratch + c->plan.stats);
    c->grad = (void *)(c->scratch + c->plan.grads);
    if (!a->lse.data) c->a.lse = (struct plumb_tensor){ c->scratch + c->plan.lse, PLUMB_F32 };
    if (!a->entropy.data && a->dentropy.data)
        c->a.entropy = (struct plumb_tensor){ c->scratch + c->plan.entropy, PLUMB_F32 };
}

static void start(struct chunk *c, int64_t from, bool kept)
{
    c->kept = kept;
    c->at = kept ? &c->plan.kept : &c->plan.streamed;
    c->first = from;
}

static void gather(const struct chunk *c)
{
    const struct plumb_logprob_panel p = { .op = &c->a,
                                           .rows = c->rows,
                                           .run = c->run,
                                           .x = c->scratch + c->at->x };
    PLUMB_CPU_CALL(plumb_logprob_gather_cpu, &p);
}

/* Takes the next rows from pair `from` on; returns the first pair left over. */
static int64_t take(struct chunk *c, int64_t from, int64_t end, bool kept)
{
    start(c, from, kept);
    c->end = plumb_logprob_runs(&c->a, from, end, c->run, c->at->rows, &c->rows);
    gather(c);
    return c->end;
}

/* The same where targets are not known yet: a row for each pair, all of it kept. */
static int64_t take_each(struct chunk *c, int64_t from)
{
    start(c, from, true);
    c->rows = least(c->at->rows, c->a.M - from);
    c->end = from + c->rows;
    for (int64_t r = 0; r < c->rows; r++)
        c->run[r] = (struct plumb_logprob_run){ from + r, from + r + 1, c->a.row[from + r] };
    gather(c);
    return c->end;
}

static struct plumb_logprob_slice slice_at(const struct chunk *c, int64_t from)
{
    const struct plumb_logprob_plan *p = &c->plan;
    float *z = (float *)(void *)(c->scratch + c->at->z);
    return (struct plumb_logprob_slice){ .op = &c->a,
                                         .rows = c->rows,
                                         .from = from,
                                         .width = least(p->slice, p->vocab - from),
                                         .run = c->run,
                                         .z = c->kept ? z + from * c->rows : z,
                                         .stat = c->stat,
                                         .grad = c->grad,
                                         .dz = { c->scratch + c->at->dz, c->a.x.dtype },
                                         .dz_stride = p->dz_stride };
}

/* u = x W^T + bias for a slice. */
static int make_logits(const struct chunk *c, const struct plumb_logprob_slice *s)
{
    const struct plumb_logprob *a = &c->a;
    struct plumb_matmul m = { .struct_bytes = sizeof m,
                              .M = s->rows,
                              .N = s->width,
                              .K = a->H,
                              .a = { c->scratch + c->at->x, a->x.dtype },
                              .trans_b = true,
                              .b = { row_of(&a->w, s->from, a->H), a->w.dtype },
                              .c = { s->z, PLUMB_F32 },
                              .batch_invariant = true };
    if (a->bias.data) m.bias = (struct plumb_tensor){ row_of(&a->bias, s->from, 1), a->bias.dtype };
    return plumb_matmul(&plumb_cpu, &m);
}

/* dX += dZ W, dW += dZ^T x for a slice. */
static int multiply_back(const struct chunk *c, const struct plumb_logprob_slice *s)
{
    const struct plumb_logprob *a = &c->a;
    const struct plumb_matmul to_x = { .struct_bytes = sizeof to_x,
                                       .M = s->rows,
                                       .N = a->H,
                                       .K = s->width,
                                       .a = s->dz,
                                       .lda = s->dz_stride,
                                       .b = { row_of(&a->w, s->from, a->H), a->w.dtype },
                                       .c = { c->scratch + c->at->dx, PLUMB_F32 },
                                       .accumulate = s->from > 0 };
    struct plumb_matmul to_w = { .struct_bytes = sizeof to_w,
                                 .M = s->width,
                                 .N = a->H,
                                 .K = s->rows,
                                 .a = s->dz,
                                 .lda = s->dz_stride,
                                 .trans_a = true,
                                 .b = { c->scratch + c->at->x, a->x.dtype },
                                 .accumulate = true };
    if (a->dx.data) PLUMB_TRY(plumb_matmul(&plumb_cpu, &to_x));
    if (!a->dw.data) return PLUMB_OK;
    to_w.c = (struct plumb_tensor){ row_of(&a->dw, s->from, a->H), PLUMB_F32 };
    return plumb_matmul(&plumb_cpu, &to_w);
}

/* Outputs of the chunk's pairs from the statistics; logp holds z of the target until here. */
static void write_outputs(const struct chunk *c)
{
    const struct plumb_logprob *a = &c->a;
    for (int64_t i = c->first; i < c->end; i++) {
        if (a->target[i] >= 0) continue;
        put(&a->logp, i, 0);
        put(&a->lse, i, 0);
        put(&a->entropy, i, 0);
        put(&a->log_sum_sq, i, 0);
        put(&a->mean_logit, i, 0);
        if (a->argmax) a->argmax[i] = -1;
    }
    for (int64_t r = 0; r < c->rows; r++) {
        const struct plumb_logprob_stat *s = &c->stat[r];
        const double log_sum = s->max > -(double)INFINITY ? log(s->sum) : (double)NAN;
        const double entropy = log_sum - s->weighted / s->sum;
        for (int64_t i = c->run[r].first; i < c->run[r].end; i++) {
            if (a->target[i] < 0) continue;
            const double logp = a->logp.data ? (double)at(&a->logp, i) - s->max - log_sum : 0;
            put(&a->logp, i, logp > 0 ? 0 : logp);
            put(&a->lse, i, s->max + log_sum);
            put(&a->entropy, i, entropy < 0 ? 0 : entropy);
            put(&a->log_sum_sq, i, log(s->squares) - 2 * log_sum);
            put(&a->mean_logit, i, s->total / (double)c->plan.vocab);
            if (a->argmax) a->argmax[i] = isnan(log_sum) ? -1 : (int32_t)s->argmax;
        }
    }
}

/* Logits and statistics of all rows. */
static int measure(const struct chunk *c)
{
    for (int64_t r = 0; r < c->rows; r++)
        c->stat[r] = (struct plumb_logprob_stat){ .max = -(double)INFINITY, .argmax = -1 };
    for (int64_t from = 0; from < c->plan.vocab && c->rows; from += c->plan.slice) {
        const struct plumb_logprob_slice s = slice_at(c, from);
        PLUMB_TRY(make_logits(c, &s));
        PLUMB_CPU_CALL(plumb_logprob_stats_cpu, &s);
    }
    return PLUMB_OK;
}

static int forward(const struct chunk *c)
{
    PLUMB_TRY(measure(c));
    write_outputs(c);
    return PLUMB_OK;
}

/* A row's gradient terms, summed over its pairs in order. */
static struct plumb_logprob_grad terms_of(const struct chunk *c, int64_t r)
{
    const struct plumb_logprob *a = &c->a;
    double along_p = 0, dentropy = 0, dmean = 0;
    struct plumb_logprob_grad g = { 0 };
    for (int64_t i = c->run[r].end; i-- > c->run[r].first;)
        if (a->target[i] >= 0) g.lse = at(&a->lse, i), g.entropy = at(&a->entropy, i);
    for (int64_t i = c->run[r].first; i < c->run[r].end; i++) {
        if (a->target[i] < 0) continue;
        along_p += (double)at(&a->dlse, i) - (double)at(&a->dlogp, i);
        dentropy += (double)at(&a->dentropy, i);
        dmean += (double)at(&a->dmean, i);
    }
    g.along_p = (float)along_p;
    g.dentropy = (float)dentropy;
    g.uniform = (float)(dmean / (double)c->plan.vocab);
    return g;
}

static int backward(const struct chunk *c)
{
    if (!c->rows) return PLUMB_OK;
    for (int64_t r = 0; r < c->rows; r++)
        c->grad[r] = terms_of(c, r);
    for (int64_t from = 0; from < c->plan.vocab; from += c->plan.slice) {
        struct plumb_logprob_slice s = slice_at(c, from);
        s.is_z = c->kept;
        if (!c->kept) PLUMB_TRY(make_logits(c, &s));
        PLUMB_CPU_CALL(plumb_logprob_grad_cpu, &s);
        PLUMB_TRY(multiply_back(c, &s));
    }
    const struct plumb_logprob_panel p = { .op = &c->a,
                                           .rows = c->rows,
                                           .run = c->run,
                                           .dx = (float *)(void *)(c->scratch + c->at->dx) };
    if (c->a.dx.data) PLUMB_CPU_CALL(plumb_logprob_scatter_cpu, &p);
    return PLUMB_OK;
}

static void zero_dx(const struct plumb_logprob *a)
{
    if (a->dx.data) memset(a->dx.data, 0, (size_t)(a->N * a->H) * plumb_dtype_bytes(a->dx.dtype));
}

static bool wants_gradient(const struct plumb_logprob *a)
{
    return a->dx.data || a->dw.data || a->dbias.data;
}

int plumb_logprob_fwd_native(const struct plumb_logprob *a)
{
    struct chunk c;
    begin(&c, a);
    for (int64_t from = 0; from < a->M;) {
        from = take(&c, from, a->M, false);
        PLUMB_TRY(forward(&c));
    }
    return PLUMB_OK;
}

int plumb_logprob_bwd_native(const struct plumb_logprob *a)
{
    struct chunk c;
    zero_dx(a);
    if (!wants_gradient(a)) return PLUMB_OK;
    struct plumb_logprob b = *a;
    const bool lacks = !a->lse.data || (a->dentropy.data && !a->entropy.data);
    const struct plumb_tensor none = { 0 };
    b.logp = b.log_sum_sq = b.mean_logit = none; /* forward's outputs stay as they are */
    b.argmax = NULL;
    if (lacks || !a->dentropy.data) b.entropy = none;
    if (lacks) b.lse = none;
    begin(&c, &b);
    for (int64_t from = 0; from < a->M;) {
        from = take(&c, from, a->M, false);
        if (lacks) PLUMB_TRY(forward(&c));
        PLUMB_TRY(backward(&c));
    }
    return PLUMB_OK;
}

/* Groups from `g` on that go through the next chunk together: as many as fit a kept one, or, when
 * the first is too large for that, as many of its kind as fill a streamed one. */
static int64_t last_group(const struct chunk *c, int64_t g, bool *kept)
{
    int64_t sum = 0, rows;
    for (int64_t k = g; k < c->a.groups; k++) {
        plumb_logprob_runs(&c->a, c->a.group[k], c->a.group[k + 1], NULL, c->a.M, &rows);
        const bool fits = rows <= c->plan.kept.rows;
        if (k == g) *kept = fits;
        if (fits != *kept) return k;
        sum += rows;
        if (k > g && sum > (*kept ? c->plan.kept.rows : c->plan.streamed.rows)) return k;
    }
    return c->a.groups;
}

/* Pairs [first, end) whose rows need several chunks: backward reads what forward stored. */
static int fused_range(struct chunk *c, int64_t first, int64_t end)
{
    const struct plumb_logprob *a = &c->a;
    int64_t from = first;
    bool whole = true;
    while (from < end) {
        from = take(c, from, end, false);
        whole &= c->first == first && from == end;
        PLUMB_TRY(forward(c));
    }
    PLUMB_TRY(a->epilogue(a->epilogue_ctx, first, end - first));
    for (from = first; from < end && wants_gradient(a);) {
        from = whole ? end : take(c, from, end, false);
        PLUMB_TRY(backward(c));
    }
    return PLUMB_OK;
}

int plumb_logprob_fused_native(const struct plumb_logprob *a)
{
    struct chunk c;
    begin(&c, a);
    zero_dx(a);
    for (int64_t g = 0, next; g < a->groups; g = next) {
        bool kept = true;
        next = last_group(&c, g, &kept);
        const int64_t first = a->group[g], end = a->group[next];
        if (first == end) continue;
        if (!kept) {
            PLUMB_TRY(fused_range(&c, first, end));
            continue;
        }
        take(&c, first, end, true);
        PLUMB_TRY(forward(&c));
        PLUMB_TRY(a->epilogue(a->epilogue_ctx, first, end - first));
        if (wants_gradient(a)) PLUMB_TRY(backward(&c));
    }
    return PLUMB_OK;
}

/* Hands the kept logits to the chooser; logp then holds z of what it chose. */
static int choose(const struct chunk *c)
{
    const struct plumb_logprob *a = &c->a;
    const struct plumb_logits z = { .z = (float *)(void *)(c->scratch + c->at->z),
                                    .rows = c->rows,
                                    .vocab = c->plan.vocab,
                                    .slice = c->plan.slice };
    PLUMB_TRY(a->chooser(a->chooser_ctx, &z, c->first));
    PLUMB_TRY(plumb_logprob_check_chosen(a, c->first, c->end));
    for (int64_t r = 0; r < c->rows; r++) {
        const int64_t i = c->first + r, t = a->target[i];
        if (t < 0) continue;
        const struct plumb_logprob_slice s = slice_at(c, t / z.slice * z.slice);
        put(&a->logp, i, (double)s.z[r * s.width + t - s.from]);
    }
    return PLUMB_OK;
}

int plumb_logprob_choose_native(const struct plumb_logprob *a)
{
    struct chunk c;
    begin(&c, a);
    for (int64_t from = 0; from < a->M;) {
        from = take_each(&c, from);
        c.a.logp.data = NULL; /* statistics would look for targets */
        PLUMB_TRY(measure(&c));
        c.a.logp = a->logp;
        PLUMB_TRY(choose(&c));
        write_outputs(&c);
    }
    return PLUMB_OK;
}
