/* From the sums of two sequences to a pair's loss and gradients, f32 formulas weighted in f64: what
 * the native code and the device's share. */
#pragma once
#include "kernels/pairwise/pairwise_eval.h"

#include <plumb/pairwise.h>

#include "kernels/sequence.h"

struct plumb_pair_value {
    plumb_real loss, dw, dl;
};

/* On the device a call of its own: inlined, the formulas' registers would be the kernel's. */
#ifdef __NVCC__
static __host__ __device__ __noinline__
#else
static inline
#endif
struct plumb_pair_value plumb_pair_values(int id, const struct plumb_pair *p)
{
    struct plumb_pair_grad g = { 0, 0 };
    const plumb_real loss = plumb_pair_eval(id, p, &g);
    const struct plumb_pair_value v = { plumb_finite(loss), plumb_finite(g.dw),
                                        plumb_finite(g.dl) };
    return v;
}

enum { PLUMB_PAIR_TERMS = 8 };

struct plumb_pair_options { /* by value to a kernel: the contract's list of terms is host memory */
    double beta, label_smoothing, divisor;
    float discopop_tau, gamma, alpha, lambda, shift, chosen_tokens;
    const float *margin, *target, *weight; /* by pair, or NULL */
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
                                    .discopop_tau = (float)a->discopop_tau,
                                    .gamma = (float)a->gamma,
                                    .alpha = (float)a->alpha,
                                    .lambda = (float)a->lambda,
                                    .shift = (float)a->shift,
                                    .chosen_tokens = (float)a->chosen_tokens,
                                    .margin = (const float *)a->margin.data,
                                    .target = (const float *)a->target.data,
                                    .weight = (const float *)a->weight.data,
                                    .term_count = a->term_count };
    for (int64_t k = 0; k < a->term_count; k++)
        o.terms[k] = a->terms[k];
    return o;
}

PLUMB_HD struct plumb_pair plumb_pair_of(const struct plumb_pair_options *o, int64_t i,
                                         const struct plumb_sequence *w,
                                         const struct plumb_sequence *l)
{
    const struct plumb_pair p = {
        .lw = plumb_saturate(w->logp),
        .ll = plumb_saturate(l->logp),
        .uw = plumb_saturate(w->ratio),
        .ul = plumb_saturate(l->ratio),
        .delta = plumb_saturate(w->ratio - l->ratio),
        .nw = w->tokens > 1 ? (float)w->tokens : 1.0f,
        .nl = l->tokens > 1 ? (float)l->tokens : 1.0f,
        .beta = (float)o->beta,
        .label_smoothing = (float)o->label_smoothing,
        .margin = o->margin ? o->margin[i] : 0,
        .tw = o->target ? o->target[2 * i] : 0,
        .tl = o->target ? o->target[2 * i + 1] : 0,
        .discopop_tau = o->discopop_tau,
        .gamma = o->gamma,
        .alpha = o->alpha,
        .lambda = o->lambda,
        .shift = o->shift,
        .chosen_tokens = o->chosen_tokens,
    };
    return p;
}

/* Pair i of those that the options' arrays describe. *p is room for it: on the device in shared
 * memory, since a call cannot read another's registers. */
PLUMB_HD struct plumb_pair_result plumb_pair_shell(const struct plumb_pair_options *o, int64_t i,
                                                   const struct plumb_sequence *w,
                                                   const struct plumb_sequence *l,
                                                   struct plumb_pair *p)
{
    *p = plumb_pair_of(o, i, w, l);
    const double scale = o->weight ? (double)o->weight[i] : 1;
    double loss = 0, dw = 0, dl = 0;
    for (int64_t k = 0; k < o->term_count; k++) {
        const struct plumb_pair_value v = plumb_pair_values((int)o->terms[k].loss, p);
        const double weight = scale * o->terms[k].weight;
        loss += weight * (double)v.loss;
        dw += weight * (double)v.dw;
        dl += weight * (double)v.dl;
    }
    const struct plumb_pair_result r = { plumb_saturate(loss), plumb_saturate(dw / o->divisor),
                                         plumb_saturate(dl / o->divisor) };
    return r;
}
