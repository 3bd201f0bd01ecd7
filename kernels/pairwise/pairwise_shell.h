/* From the sums of two sequences to a pair's loss and gradients: what the native code and the
 * device's share. Formulas are in f32, weighted in f64; with PLUMB_PAIR_LINKED in f64 throughout,
 * for the f-divergences, whose exponentials leave f32 long before the results do. */
#pragma once
#ifdef PLUMB_PAIR_LINKED
#define PLUMB_REAL_F64
#endif
#include "kernels/pairwise/pairwise_eval.h"

#include <plumb/pairwise.h>

#include "kernels/pairwise/divergence.h"
#include "kernels/sequence.h"

/* What takes the place of a pair's log-ratios, and its slope by the log-probs. */
struct plumb_pair_link {
    plumb_real delta, mean_delta, slope_w, slope_l;
};

/* Where a pair is worked out: on the device in shared memory, since a call cannot read another's
 * registers. */
struct plumb_pair_room {
    struct plumb_pair p;
    plumb_real value; /* of one term */
    struct plumb_pair_grad g;
    double loss, dw, dl, dkw, dkl; /* sums over the terms */
#ifdef PLUMB_PAIR_LINKED
    struct plumb_pair_link plain, linked;
#endif
};

/* On the device calls of their own: inlined, the formulas' registers would be the kernel's. */
#ifdef __NVCC__
#define PLUMB_PAIR_CALL static __host__ __device__ __noinline__
#else
#define PLUMB_PAIR_CALL static inline
#endif

PLUMB_PAIR_CALL void plumb_pair_values(int id, struct plumb_pair_room *m)
{
    struct plumb_pair_grad g = { 0, 0, 0, 0 };
    m->value = plumb_finite(plumb_pair_eval(id, &m->p, &g));
    m->g.dw = plumb_finite(g.dw), m->g.dl = plumb_finite(g.dl);
    m->g.dkw = plumb_finite(g.dkw), m->g.dkl = plumb_finite(g.dkl);
}

#ifdef PLUMB_PAIR_LINKED
PLUMB_PAIR_CALL void plumb_pair_links(enum plumb_f_divergence f, double a,
                                      const struct plumb_sequence *w,
                                      const struct plumb_sequence *l, struct plumb_pair_room *m)
{
    const struct plumb_link hw = plumb_link_of(f, a, w->ratio), hl = plumb_link_of(f, a, l->ratio);
    const struct plumb_pair_link plain = { m->p.delta, m->p.mean_delta, 1, 1 };
    const struct plumb_pair_link linked = { hw.h - hl.h, hw.h / m->p.nw - hl.h / m->p.nl, hw.slope,
                                            hl.slope };
    m->plain = plain, m->linked = linked;
}

PLUMB_HD void plumb_pair_value_of(int id, struct plumb_pair_room *m)
{
    const struct plumb_pair_link *link = plumb_pair_takes_divergence(id) ? &m->linked : &m->plain;
    m->p.delta = link->delta, m->p.mean_delta = link->mean_delta;
    plumb_pair_values(id, m);
    m->g.dw = plumb_finite(m->g.dw * link->slope_w);
    m->g.dl = plumb_finite(m->g.dl * link->slope_l);
}
#else
PLUMB_HD void plumb_pair_value_of(int id, struct plumb_pair_room *m) { plumb_pair_values(id, m); }
#endif

enum { PLUMB_PAIR_TERMS = 8 };

struct plumb_pair_options { /* by value to a kernel: the contract's list of terms is host memory */
    double beta, label_smoothing, divisor;
    double discopop_tau, gamma, alpha, lambda, shift, chosen_tokens;
    const float *margin, *target, *weight; /* by pair, or NULL, as all below */
    const float *anchor_sum, *kl, *aot, *aot_unpaired;
    float *dkl;
    enum plumb_f_divergence f_divergence;
    double f_alpha_divergence_coef;
    int64_t term_count;
    struct plumb_pairwise_term terms[PLUMB_PAIR_TERMS];
};

struct plumb_pair_result {
    float loss;
    float upw, upl; /* gradients of each token of chosen and rejected */
};

static inline struct plumb_pair_options plumb_pair_options(const struct plumb_pairwise *a)
{
    struct plumb_pair_options o = { .beta = a->beta,
                                    .label_smoothing = a->label_smoothing,
                                    .divisor = a->divisor,
                                    .discopop_tau = a->discopop_tau,
                                    .gamma = a->gamma,
                                    .alpha = a->alpha,
                                    .lambda = a->lambda,
                                    .shift = a->shift,
                                    .chosen_tokens = a->chosen_tokens,
                                    .margin = (const float *)a->margin.data,
                                    .target = (const float *)a->target.data,
                                    .weight = (const float *)a->weight.data,
                                    .anchor_sum = (const float *)a->anchor_sum.data,
                                    .kl = (const float *)a->kl.data,
                                    .aot = (const float *)a->aot.data,
                                    .aot_unpaired = (const float *)a->aot_unpaired.data,
                                    .dkl = (float *)a->dkl.data,
                                    .f_divergence = a->f_divergence,
                                    .f_alpha_divergence_coef = a->f_alpha_divergence_coef,
                                    .term_count = a->term_count };
    for (int64_t k = 0; k < a->term_count; k++)
        o.terms[k] = a->terms[k];
    return o;
}

PLUMB_HD struct plumb_pair plumb_pair_of(const struct plumb_pair_options *o, int64_t i,
                                         const struct plumb_sequence *w,
                                         const struct plumb_sequence *l)
{
    const plumb_real nw = w->tokens > 1 ? (plumb_real)w->tokens : 1;
    const plumb_real nl = l->tokens > 1 ? (plumb_real)l->tokens : 1;
    double anchored = 0; /* a stored sum was rounded: so are the policy's then */
    if (o->anchor_sum)
        anchored = plumb_sequence_ratio(w->logp, (double)o->anchor_sum[2 * i], true) -
                   plumb_sequence_ratio(l->logp, (double)o->anchor_sum[2 * i + 1], true);
    const struct plumb_pair p = {
        .lw = plumb_saturate(w->logp),
        .ll = plumb_saturate(l->logp),
        .uw = plumb_saturate(w->ratio),
        .ul = plumb_saturate(l->ratio),
        .delta = plumb_saturate(w->ratio - l->ratio),
        .mean_delta = plumb_saturate(w->ratio / (double)nw - l->ratio / (double)nl),
        .anchor_delta = plumb_saturate(anchored),
        .nw = nw,
        .nl = nl,
        .kw = o->kl ? o->kl[2 * i] : 0,
        .kl = o->kl ? o->kl[2 * i + 1] : 0,
        .aot = o->aot ? o->aot[i] : 0,
        .aot_w = o->aot_unpaired ? o->aot_unpaired[2 * i] : 0,
        .aot_l = o->aot_unpaired ? o->aot_unpaired[2 * i + 1] : 0,
        .beta = PLUMB_R(o->beta),
        .label_smoothing = PLUMB_R(o->label_smoothing),
        .margin = o->margin ? o->margin[i] : 0,
        .tw = o->target ? o->target[2 * i] : 0,
        .tl = o->target ? o->target[2 * i + 1] : 0,
        .discopop_tau = PLUMB_R(o->discopop_tau),
        .gamma = PLUMB_R(o->gamma),
        .alpha = PLUMB_R(o->alpha),
        .lambda = PLUMB_R(o->lambda),
        .shift = PLUMB_R(o->shift),
        .chosen_tokens = PLUMB_R(o->chosen_tokens),
    };
    return p;
}

/* Pair i of those that the options' arrays describe. */
PLUMB_HD struct plumb_pair_result plumb_pair_shell(const struct plumb_pair_options *o, int64_t i,
                                                   const struct plumb_sequence *w,
                                                   const struct plumb_sequence *l,
                                                   struct plumb_pair_room *m)
{
    m->p = plumb_pair_of(o, i, w, l);
#ifdef PLUMB_PAIR_LINKED
    plumb_pair_links(o->f_divergence, o->f_alpha_divergence_coef, w, l, m);
#endif
    m->loss = m->dw = m->dl = m->dkw = m->dkl = 0;
    for (int64_t k = 0; k < o->term_count; k++) {
        const double weight = o->terms[k].weight * (o->weight ? (double)o->weight[i] : 1);
        plumb_pair_value_of((int)o->terms[k].loss, m);
        m->loss += weight * (double)m->value;
        m->dw += weight * (double)m->g.dw;
        m->dl += weight * (double)m->g.dl;
        m->dkw += weight * (double)m->g.dkw;
        m->dkl += weight * (double)m->g.dkl;
    }
    if (o->dkl) {
        o->dkl[2 * i] = plumb_saturate_f32(m->dkw / o->divisor);
        o->dkl[2 * i + 1] = plumb_saturate_f32(m->dkl / o->divisor);
    }
    const struct plumb_pair_result r = { plumb_saturate_f32(m->loss),
                                         plumb_saturate_f32(m->dw / o->divisor),
                                         plumb_saturate_f32(m->dl / o->divisor) };
    return r;
}
