/* From the sums of two sequences to a pair's loss and gradients, f32 formulas weighted in f64: what
 * the native code and the device's share. */
#pragma once
#include "kernels/pairwise/pairwise_eval.h"

#include <plumb/pairwise.h>

#include "kernels/sequence.h"

enum { PLUMB_PAIR_TERMS = 8 };

struct plumb_pair_options { /* by value to a kernel: the contract's list of terms is host memory */
    double beta, label_smoothing, divisor;
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
                                    .term_count = a->term_count };
    for (int64_t k = 0; k < a->term_count; k++)
        o.terms[k] = a->terms[k];
    return o;
}

PLUMB_HD struct plumb_pair_result plumb_pair_shell(const struct plumb_pair_options *o,
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
    };
    double loss = 0, dw = 0, dl = 0;
    for (int64_t k = 0; k < o->term_count; k++) {
        struct plumb_pair_grad g = { 0, 0 };
        const double weight = o->terms[k].weight;
        loss += weight * (double)plumb_finite(plumb_pair_eval((int)o->terms[k].loss, &p, &g));
        dw += weight * (double)plumb_finite(g.dw);
        dl += weight * (double)plumb_finite(g.dl);
    }
    const struct plumb_pair_result r = { plumb_saturate(loss), plumb_saturate(dw / o->divisor),
                                         plumb_saturate(dl / o->divisor) };
    return r;
}
