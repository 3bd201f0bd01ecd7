/* From the sums of a sequence to a completion's loss and gradient, f32 formulas weighted in f64:
 * what the native code and the device's share. */
#pragma once
#include "kernels/unpaired/unpaired_eval.h"

#include <plumb/unpaired.h>

#include "kernels/sequence.h"

struct plumb_completion_value {
    plumb_real loss, dlp, dvalue;
};

/* On the device a call of its own: inlined, the formulas' registers would be the kernel's. */
#ifdef __NVCC__
static __host__ __device__ __noinline__
#else
static inline
#endif
    struct plumb_completion_value
    plumb_completion_values(int id, const struct plumb_completion *p)
{
    struct plumb_completion_grad g = { 0, 0 };
    const plumb_real loss = plumb_completion_eval(id, p, &g);
    const struct plumb_completion_value v = { plumb_finite(loss), plumb_finite(g.dlp),
                                              plumb_finite(g.dvalue) };
    return v;
}

struct plumb_completion_options { /* by value to a kernel */
    int loss;
    double divisor;
    float beta, desirable_weight, undesirable_weight, lambda, clip, clamp_negative, normalize;
    const int32_t *label;                 /* by completion, or NULL */
    const float *target, *value, *weight; /* the same */
    const float *kl, *shift;              /* one number, or NULL */
};

struct plumb_completion_result {
    float loss;
    float up; /* gradient of each token */
    float dvalue;
};

static inline struct plumb_completion_options plumb_completion_options(
    const struct plumb_unpaired *a)
{
    const struct plumb_completion_options o = {
        .loss = (int)a->loss,
        .divisor = a->divisor,
        .beta = (float)a->beta,
        .desirable_weight = (float)a->desirable_weight,
        .undesirable_weight = (float)a->undesirable_weight,
        .lambda = (float)a->lambda,
        .clip = (float)a->clip,
        .clamp_negative = (float)a->clamp_negative,
        .normalize = (float)a->normalize,
        .label = a->label,
        .target = (const float *)a->target.data,
        .value = (const float *)a->value.data,
        .weight = (const float *)a->weight.data,
        .kl = (const float *)a->kl.data,
        .shift = (const float *)a->shift.data,
    };
    return o;
}

/* Completion i of those that the options' arrays describe. *p is room for it: on the device in
 * shared memory, since a call cannot read another's registers. A label that is none makes NaN. */
PLUMB_HD struct plumb_completion_result plumb_completion_shell(
    const struct plumb_completion_options *o, int64_t i, const struct plumb_sequence *q,
    struct plumb_completion *p)
{
    const int32_t label = o->label ? o->label[i] : 0;
    p->lp = plumb_saturate(q->logp);
    p->u = label == 0 || label == 1 ? plumb_saturate(q->ratio) : NAN;
    p->desirable = label == 1 ? 1.0f : 0.0f;
    p->kl = o->kl ? *o->kl : 0;
    p->beta = o->beta;
    p->desirable_weight = o->desirable_weight;
    p->undesirable_weight = o->undesirable_weight;
    p->shift = o->shift ? *o->shift : 0;
    p->target = o->target ? o->target[i] : 0;
    p->value = o->value ? o->value[i] : 0;
    p->lambda = o->lambda;
    p->clip = o->clip;
    p->clamp_negative = o->clamp_negative;
    p->normalize = o->normalize;
    const double weight = o->weight ? (double)o->weight[i] : 1;
    const struct plumb_completion_value v = plumb_completion_values(o->loss, p);
    const struct plumb_completion_result r = {
        plumb_saturate(weight * (double)v.loss),
        plumb_saturate(weight * (double)v.dlp / o->divisor),
        plumb_saturate(weight * (double)v.dvalue / o->divisor),
    };
    return r;
}
