/* Oracle of the head: every pair on its own, in f64, each intermediate rounded to `round`. It knows
 * nothing of the native code's schedule: no shared rows, no slices, no statistics kept for
 * backward. Tiles of 64 pairs only serve to use the matrix product. */
#include <plumb/logprob.h>

#include <math.h>
#include <plumb/matmul.h>
#include <plumb/sample.h>
#include <string.h>

#include "kernels/logprob/logprob_plan.h"

#define RND(x) plumb_dtype_round(round, x)

/* Pairs that are not skipped, with their hidden rows and logits. */
struct tile {
    int64_t n;
    int64_t pair[PLUMB_LOGPROB_REF_ROWS];
    double *x, *dx; /* (n,H) */
    double *z;      /* (n,V): z, in backward then dz */
};

/* Statistics of one row of z: p_v = exp(z_v - max) / sum. */
struct stats {
    double max, sum, log_sum, entropy, squares, mean;
    int32_t argmax;
};

static int64_t vocab(const struct plumb_logprob *a)
{
    return a->valid_vocab ? a->valid_vocab : a->V;
}

static double at(const struct plumb_tensor *t, int64_t i)
{
    return t->data ? ((const double *)t->data)[i] : 0;
}

static void put(const struct plumb_tensor *t, int64_t i, double v)
{
    if (t->data) ((double *)t->data)[i] = v;
}

/* Takes the next pairs from `from` on, those skipped only where targets are not known yet (`all`),
 * and returns where to go on. */
static int64_t gather(const struct plumb_logprob *a, int64_t from, bool all, struct tile *t)
{
    const int64_t rows = PLUMB_LOGPROB_REF_ROWS < a->M ? PLUMB_LOGPROB_REF_ROWS : a->M;
    t->x = a->work.data;
    t->dx = t->x + rows * a->H;
    t->z = t->dx + rows * a->H;
    t->n = 0;
    for (; from < a->M && t->n < rows; from++) {
        if (!all && a->target[from] < 0) continue;
        const double *x = (const double *)a->x.data + a->row[from] * a->H;
        memcpy(t->x + t->n * a->H, x, (size_t)a->H * sizeof *x);
        t->pair[t->n++] = from;
    }
    return from;
}

static void logits(const struct plumb_logprob *a, const struct tile *t, enum plumb_dtype round)
{
    const int64_t V = vocab(a);
    const struct plumb_matmul product = { .struct_bytes = sizeof product,
                                          .M = t->n,
                                          .N = V,
                                          .K = a->H,
                                          .a = { t->x, PLUMB_F64 },
                                          .b = a->w,
                                          .trans_b = true,
                                          .c = { t->z, PLUMB_F64 },
                                          .bias = a->bias };
    plumb_matmul_ref(&product, round);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < t->n * V; i++) {
        double z = RND(t->z[i] * a->logit_scale);
        if (a->softcap > 0) z = RND(a->softcap * RND(tanh(z / a->softcap)));
        t->z[i] = RND(z / a->temperature);
    }
}

static struct stats measure(const double *z, int64_t V, enum plumb_dtype round)
{
    struct stats s = { .max = -INFINITY, .argmax = -1 };
    double weighted = 0, total = 0;
    for (int64_t v = 0; v < V; v++)
        if (z[v] > s.max) s.max = z[v], s.argmax = (int32_t)v;
    for (int64_t v = 0; v < V; v++) {
        const double d = RND(z[v] - s.max), e = RND(exp(d));
        s.sum = RND(s.sum + e);
        if (e != 0) weighted = RND(weighted + RND(e * d)); /* 0 ln 0 = 0 */
        s.squares = RND(s.squares + RND(e * e));
        total = RND(total + z[v]);
    }
    if (isnan(s.sum)) s.argmax = -1;
    s.log_sum = RND(log(s.sum));
    s.entropy = RND(s.log_sum - RND(weighted / s.sum));
    if (s.entropy < 0) s.entropy = 0;
    s.mean = RND(total / (double)V);
    return s;
}

static void write(const struct plumb_logprob *a, int64_t pair, const double *z,
                  const struct stats *s, enum plumb_dtype round)
{
    const double logp = RND(RND(z[a->target[pair]] - s->max) - s->log_sum);
    put(&a->logp, pair, logp > 0 ? 0 : logp);
    put(&a->lse, pair, RND(s->max + s->log_sum));
    put(&a->entropy, pair, s->entropy);
    put(&a->log_sum_sq, pair, RND(RND(log(s->squares)) - RND(2 * s->log_sum)));
    put(&a->mean_logit, pair, s->mean);
    if (a->argmax) a->argmax[pair] = s->argmax;
}

static void write_skipped(const struct plumb_logprob *a, int64_t from, int64_t end)
{
    for (int64_t i = from; i < end; i++) {
        if (a->target[i] >= 0) continue;
        put(&a->logp, i, 0);
        put(&a->lse, i, 0);
        put(&a->entropy, i, 0);
        put(&a->log_sum_sq, i, 0);
        put(&a->mean_logit, i, 0);
        if (a->argmax) a->argmax[i] = -1;
    }
}

void plumb_logprob_fwd_ref(const struct plumb_logprob *a, enum plumb_dtype round)
{
    const int64_t V = vocab(a);
    struct tile t;
    write_skipped(a, 0, a->M);
    for (int64_t from = 0; from < a->M;) {
        from = gather(a, from, false, &t);
        logits(a, &t, round);
#pragma omp parallel for schedule(static)
        for (int64_t r = 0; r < t.n; r++) {
            const struct stats s = measure(t.z + r * V, V, round);
            write(a, t.pair[r], t.z + r * V, &s, round);
        }
    }
}

/* The chooser sees logits rounded to f32, as on any device. */
int plumb_logprob_choose_ref(const struct plumb_logprob *a, enum plumb_dtype round)
{
    const int64_t V = vocab(a);
    struct tile t;
    for (int64_t from = 0, end; from < a->M; from = end) {
        end = gather(a, from, true, &t);
        logits(a, &t, round);
        const int64_t rows = PLUMB_LOGPROB_REF_ROWS < a->M ? PLUMB_LOGPROB_REF_ROWS : a->M;
        float *z = (float *)(void *)(t.z + rows * a->V);
        for (int64_t i = 0; i < t.n * V; i++)
            z[i] = (float)t.z[i];
        const struct plumb_logits seen = { .z = z, .rows = t.n, .vocab = V, .slice = V };
        PLUMB_TRY(a->chooser(a->chooser_ctx, &seen, from));
        PLUMB_TRY(plumb_logprob_check_chosen(a, from, end));
        for (int64_t r = 0; r < t.n; r++) {
            if (a->target[t.pair[r]] < 0) continue;
            const struct stats s = measure(t.z + r * V, V, round);
            write(a, t.pair[r], t.z + r * V, &s, round);
        }
    }
    write_skipped(a, 0, a->M);
    return PLUMB_OK;
}

/* z becomes the gradient of u = x W^T + bias. */
static void differentiate(const struct plumb_logprob *a, int64_t pair, double *z,
                          enum plumb_dtype round)
{
    const int64_t V = vocab(a);
    const struct stats s = measure(z, V, round);
    const double dlogp = at(&a->dlogp, pair), dentropy = at(&a->dentropy, pair);
    const double along_p = RND(at(&a->dlse, pair) - dlogp);
    const double uniform = RND(at(&a->dmean, pair) / (double)V);
    for (int64_t v = 0; v < V; v++) {
        const double d = RND(z[v] - s.max), p = RND(RND(exp(d)) / s.sum);
        double g = RND(uniform + RND(p * along_p));
        if (p != 0 && dentropy != 0) {
            const double surprise = RND(RND(d - s.log_sum) + s.entropy);
            g = RND(g - RND(dentropy * RND(p * surprise)));
        }
        if (v == a->target[pair]) g = RND(g + dlogp);
        g = RND(g / a->temperature);
        if (a->softcap > 0) {
            const double c = RND(z[v] * a->temperature / a->softcap);
            g = RND(g * RND(1 - c * c));
        }
        z[v] = RND(g * a->logit_scale);
    }
}

/* dx, dw and dbias from dz. */
static void spread(const struct plumb_logprob *a, const struct tile *t, enum plumb_dtype round)
{
    const int64_t V = vocab(a), H = a->H;
    const struct plumb_tensor z = { t->z, PLUMB_F64 }, x = { t->x, PLUMB_F64 };
    const struct plumb_matmul to_x = { .struct_bytes = sizeof to_x,
                                       .M = t->n,
                                       .N = H,
                                       .K = V,
                                       .a = z,
                                       .b = a->w,
                                       .c = { t->dx, PLUMB_F64 } };
    const struct plumb_matmul to_w = { .struct_bytes = sizeof to_w,
                                       .M = V,
                                       .N = H,
                                       .K = t->n,
                                       .a = z,
                                       .trans_a = true,
                                       .b = x,
                                       .c = a->dw,
                                       .accumulate = true };
    if (a->dw.data) plumb_matmul_ref(&to_w, round);
    if (a->dx.data) plumb_matmul_ref(&to_x, round);
    for (int64_t r = 0; r < t->n && a->dx.data; r++) {
        double *dx = (double *)a->dx.data + a->row[t->pair[r]] * H;
        for (int64_t h = 0; h < H; h++)
            dx[h] = RND(dx[h] + t->dx[r * H + h]);
    }
    for (int64_t v = 0; v < V && a->dbias.data; v++) {
        double *dbias = (double *)a->dbias.data + v;
        for (int64_t r = 0; r < t->n; r++)
            *dbias = RND(*dbias + t->z[r * V + v]);
    }
}

void plumb_logprob_bwd_ref(const struct plumb_logprob *a, enum plumb_dtype round)
{
    const int64_t V = vocab(a);
    struct tile t;
    if (a->dx.data) memset(a->dx.data, 0, (size_t)(a->N * a->H) * sizeof(double));
    for (int64_t from = 0; from < a->M;) {
        from = gather(a, from, false, &t);
        logits(a, &t, round);
#pragma omp parallel for schedule(static)
        for (int64_t r = 0; r < t.n; r++)
            differentiate(a, t.pair[r], t.z + r * V, round);
        spread(a, &t, round);
    }
}
