/* Oracle of the divergences: rows one by one in f64, each intermediate rounded to `round`; for a
 * yardstick the formulas run in plain f32. */
#define PLUMB_REAL_F64
#include "kernels/distill/distill_eval.h"

#include <plumb/matmul.h>
#include <string.h>

#include "kernels/distill/distill_plain.h"
#include "kernels/distill/distill_plan.h"

#define RND(x) plumb_dtype_round(round, x)

static int64_t vocab(const struct plumb_distill *a)
{
    return a->valid_vocab ? a->valid_vocab : a->V;
}

/* z of one hidden row. */
static void logits(const struct plumb_distill *a, const struct plumb_distill_head *h, int64_t row,
                   double *z, enum plumb_dtype round)
{
    const struct plumb_matmul product = { .struct_bytes = sizeof product,
                                          .M = 1,
                                          .N = vocab(a),
                                          .K = h->H,
                                          .a = { (double *)h->x.data + row * h->H, PLUMB_F64 },
                                          .b = h->w,
                                          .trans_b = true,
                                          .c = { z, PLUMB_F64 },
                                          .bias = h->bias };
    plumb_matmul_ref(&product, round);
    for (int64_t v = 0; v < product.N; v++) {
        double s = RND(z[v] * h->logit_scale);
        if (h->softcap > 0) s = RND(h->softcap * RND(tanh(s / h->softcap)));
        z[v] = RND(s / a->temperature);
    }
}

/* z becomes log softmax(z). */
static void normalize(double *z, int64_t V, enum plumb_dtype round)
{
    double top = -INFINITY, sum = 0;
    for (int64_t v = 0; v < V; v++)
        if (z[v] > top) top = z[v];
    for (int64_t v = 0; v < V; v++)
        sum = RND(sum + RND(exp(RND(z[v] - top))));
    const double log_sum = RND(log(sum));
    for (int64_t v = 0; v < V; v++)
        z[v] = RND(RND(z[v] - top) - log_sum);
}

static double evaluate(const struct plumb_distill *a, double logp, double logq,
                       struct plumb_chance_grad *g, enum plumb_dtype round)
{
    const struct plumb_chance c = { .logp = plumb_finite(logp),
                                    .logq = plumb_finite(logq),
                                    .p = RND(exp(logp)),
                                    .q = RND(exp(logq)),
                                    .beta = a->beta,
                                    .alpha = a->alpha };
    const int id = plumb_distill_formula(a);
    return round == PLUMB_F64 ? plumb_chance_eval(id, &c, g)
                              : plumb_chance_plain(id, (const double *)&c, (double *)g);
}

/* One row: its loss; z becomes the gradient of u = x W^T + bias. */
static double one_row(const struct plumb_distill *a, int64_t row, double up, double *z, double *y,
                      double *logp, double *entropy, enum plumb_dtype round)
{
    const struct plumb_distill_head *h = &a->policy;
    const int64_t V = vocab(a);
    struct plumb_chance_grad g = { 0 };
    double value = 0, pull = 0;
    logits(a, h, row, z, round);
    logits(a, &a->teacher, row, y, round);
    memcpy(logp, z, (size_t)V * sizeof *z);
    normalize(logp, V, round);
    normalize(y, V, round);
    for (int64_t v = 0; v < V; v++) {
        value = RND(value + evaluate(a, logp[v], y[v], &g, round));
        *entropy = RND(*entropy - RND(RND(exp(logp[v])) * plumb_finite(logp[v])));
        pull = RND(pull + RND(RND(RND(exp(logp[v])) * g.slope) + g.direct));
    }
    for (int64_t v = 0; v < V; v++) {
        evaluate(a, logp[v], y[v], &g, round);
        double d = RND(RND(RND(exp(logp[v])) * RND(g.slope - pull)) + g.direct);
        d = RND(RND(d * up) / a->temperature);
        if (h->softcap > 0) {
            const double c = RND(z[v] * a->temperature / h->softcap);
            d = RND(d * RND(1 - c * c));
        }
        z[v] = RND(d * h->logit_scale);
    }
    return value;
}

static void spread(const struct plumb_distill *a, int64_t row, const double *dz,
                   enum plumb_dtype round)
{
    const int64_t V = vocab(a), H = a->policy.H;
    const double *x = (const double *)a->policy.x.data + row * H, *w = a->policy.w.data;
    double *dx = a->dx.data ? (double *)a->dx.data + row * H : NULL, *dw = a->dw.data;
    double *dbias = a->dbias.data;
    for (int64_t v = 0; v < V; v++) {
        for (int64_t h = 0; h < H && dx; h++)
            dx[h] = RND(dx[h] + RND(dz[v] * w[v * H + h]));
        for (int64_t h = 0; h < H && dw; h++)
            dw[v * H + h] = RND(dw[v * H + h] + RND(dz[v] * x[h]));
        if (dbias) dbias[v] = RND(dbias[v] + dz[v]);
    }
}

void plumb_distill_ref(const struct plumb_distill *a, enum plumb_dtype round)
{
    const double *weight = a->weight.data;
    double *z = a->work.data, *y = z + a->V, *logp = y + a->V, *losses = a->losses.data;
    if (a->dx.data) memset(a->dx.data, 0, (size_t)(a->N * a->policy.H) * sizeof(double));
    for (int64_t i = 0; i < a->M; i++) {
        const double w = weight ? weight[i] : 1;
        const int64_t row = a->row ? a->row[i] : i;
        double entropy = 0;
        losses[i] = 0;
        if (w != 0) {
            losses[i] = RND(w * one_row(a, row, RND(w / a->divisor), z, y, logp, &entropy, round));
            spread(a, row, z, round);
        }
        if (a->entropy.data) ((double *)a->entropy.data)[i] = entropy;
    }
}
