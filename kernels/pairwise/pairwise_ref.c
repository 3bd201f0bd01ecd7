/* Oracle of the pairwise losses: plain loops in f64; for a yardstick the sums are rounded and the
 * formula runs in plain f32. */
#define PLUMB_REAL_F64
#include "kernels/pairwise/pairwise_eval.h"

#include <plumb/pairwise.h>

#include "kernels/pairwise/divergence.h"
#include "kernels/pairwise/pairwise_plain.h"
#include "kernels/sequence.h"

static double at_least_one(int64_t n) { return n > 1 ? (double)n : 1; }

static double input(const struct plumb_tensor *t, int64_t i, double absent)
{
    return t->data ? ((const double *)t->data)[i] : absent;
}

static double difference(enum plumb_dtype round, double x, double y)
{
    return plumb_dtype_round(round, x - y);
}

static struct plumb_pair pair(const struct plumb_pairwise *a, enum plumb_dtype round, int64_t i,
                              const struct plumb_sequence *w, const struct plumb_sequence *l)
{
    const double nw = at_least_one(w->tokens), nl = at_least_one(l->tokens);
    const double *anchor = a->anchor_sum.data;
    return (struct plumb_pair){
        .lw = w->logp,
        .ll = l->logp,
        .uw = w->ratio,
        .ul = l->ratio,
        .delta = difference(round, w->ratio, l->ratio),
        .mean_delta = difference(round, plumb_dtype_round(round, w->ratio / nw),
                                 plumb_dtype_round(round, l->ratio / nl)),
        .anchor_delta = anchor ? difference(round, w->logp - anchor[2 * i],
                                            l->logp - anchor[2 * i + 1])
                               : 0,
        .nw = nw,
        .nl = nl,
        .kw = input(&a->kl, 2 * i, 0),
        .kl = input(&a->kl, 2 * i + 1, 0),
        .aot = input(&a->aot, i, 0),
        .aot_w = input(&a->aot_unpaired, 2 * i, 0),
        .aot_l = input(&a->aot_unpaired, 2 * i + 1, 0),
        .beta = a->beta,
        .label_smoothing = a->label_smoothing,
        .margin = input(&a->margin, i, 0),
        .tw = input(&a->target, 2 * i, 0),
        .tl = input(&a->target, 2 * i + 1, 0),
        .discopop_tau = a->discopop_tau,
        .gamma = a->gamma,
        .alpha = a->alpha,
        .lambda = a->lambda,
        .shift = a->shift,
        .chosen_tokens = a->chosen_tokens,
    };
}

/* The pair as a formula under the divergence sees it; slopes of the links. */
static struct plumb_pair linked(const struct plumb_pairwise *a, enum plumb_dtype round,
                                struct plumb_pair p, const struct plumb_sequence *w,
                                const struct plumb_sequence *l, double slope[2])
{
    const double coef = a->f_alpha_divergence_coef;
    const struct plumb_link hw = plumb_link_of(a->f_divergence, coef, w->ratio);
    const struct plumb_link hl = plumb_link_of(a->f_divergence, coef, l->ratio);
    const double h[2] = { plumb_dtype_round(round, hw.h), plumb_dtype_round(round, hl.h) };
    slope[0] = plumb_dtype_round(round, hw.slope), slope[1] = plumb_dtype_round(round, hl.slope);
    p.delta = difference(round, h[0], h[1]);
    p.mean_delta = difference(round, plumb_dtype_round(round, h[0] / p.nw),
                              plumb_dtype_round(round, h[1] / p.nl));
    return p;
}

struct sums { /* of the terms of one pair */
    double loss, dw, dl, dkw, dkl;
};

static void add(double *sum, enum plumb_dtype round, double x)
{
    *sum = plumb_dtype_round(round, *sum + x);
}

static void add_term(const struct plumb_pairwise_term *term, enum plumb_dtype round, double scale,
                     const struct plumb_pair *p, const double slope[2], struct sums *s)
{
    struct plumb_pair_grad g = { 0 };
    const int id = term->loss;
    const double value = round == PLUMB_F64 ? plumb_pair_eval(id, p, &g)
                                            : plumb_pair_plain(id, (const double *)p, (double *)&g);
    const double weight = scale * term->weight;
    add(&s->loss, round, weight * value);
    add(&s->dw, round, weight * g.dw * slope[0]);
    add(&s->dl, round, weight * g.dl * slope[1]);
    add(&s->dkw, round, weight * g.dkw);
    add(&s->dkl, round, weight * g.dkl);
}

static void write_gradients(const struct plumb_pairwise *a, enum plumb_dtype round, int64_t i,
                            const struct sums *s)
{
    double *dlogp = a->dlogp.data, *dkl = a->dkl.data;
    for (int32_t t = a->offset[2 * i]; dlogp && t < a->offset[2 * i + 2]; t++) {
        const double up = t < a->offset[2 * i + 1] ? s->dw : s->dl;
        dlogp[t] = plumb_dtype_round(round, up / a->divisor * input(&a->token_weight, t, 1));
    }
    if (!dkl) return;
    dkl[2 * i] = plumb_dtype_round(round, s->dkw / a->divisor);
    dkl[2 * i + 1] = plumb_dtype_round(round, s->dkl / a->divisor);
}

static void one_pair(const struct plumb_pairwise *a, enum plumb_dtype round, int64_t i)
{
    const struct plumb_sequences q = { a->offset, a->logp.data, a->ref_logp.data, a->ref_sum.data,
                                       a->token_weight.data };
    const struct plumb_sequence w = plumb_sequence_ref(&q, 2 * i, round);
    const struct plumb_sequence l = plumb_sequence_ref(&q, 2 * i + 1, round);
    const double none[2] = { 1, 1 };
    double slope[2];
    const struct plumb_pair p = pair(a, round, i, &w, &l);
    const struct plumb_pair h = linked(a, round, p, &w, &l, slope);
    struct sums s = { 0 };
    for (int64_t k = 0; k < a->term_count; k++) {
        const bool takes = plumb_pair_takes_divergence((int)a->terms[k].loss);
        add_term(&a->terms[k], round, input(&a->weight, i, 1), takes ? &h : &p,
                 takes ? slope : none, &s);
    }
    ((double *)a->losses.data)[i] = s.loss;
    double *logps = a->logps.data, *rewards = a->rewards.data;
    logps[2 * i] = w.logp, logps[2 * i + 1] = l.logp;
    rewards[2 * i] = plumb_dtype_round(round, a->beta * w.ratio);
    rewards[2 * i + 1] = plumb_dtype_round(round, a->beta * l.ratio);
    write_gradients(a, round, i, &s);
}

void plumb_pairwise_ref(const struct plumb_pairwise *a, enum plumb_dtype round)
{
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < a->B; i++)
        one_pair(a, round, i);
}
