/* A call of the attention as its kernels get it. */
#pragma once
#include "kernels/attention/attention_gpu.h"
#include "kernels/gpu_mma.h"

struct attn_job {
    const void *q, *k, *v, *d_o;
    void *o, *dq, *dk, *dv;
    float *lse; /* NULL = not wanted */
    int64_t ldq, ldk, ldv, ldo;
    int Hq, Hkv, K, G;
    int window;       /* a query at p sees positions above p - window; INT32_MAX without a window */
    bool wide;        /* 16-byte accesses are possible everywhere */
    bool capped;
    float scale;      /* of q.k */
    float in, factor; /* logit = factor * (capped ? tanh(in * q.k) : q.k), times log2(e) in bf16 */
    float lse_in;     /* lse times this is in the units of the logit; lse_out the reverse */
    float lse_out;
    struct plumb_attention_tables t;
};

/* Fills t's tables by one kernel; pieces hold `query_step` and `key_step` rows. */
int plumb_attention_plan_launch(const struct plumb_device *dev, const struct plumb_attention *a,
                                const struct plumb_attention_tables *t, int query_step,
                                int key_step, bool backward);

template <class T> static bool attn_is_wide(const struct plumb_attention *a, bool backward)
{
    const struct plumb_tensor *const x[] = { &a->q, &a->k,  &a->v,  &a->o,
                                             &a->d_o, &a->dq, &a->dk, &a->dv };
    const int64_t ld[] = { a->K, a->ldq, a->ldk, a->ldv, a->ldo };
    for (int i = 0; i < (backward ? 8 : 4); i++)
        if (!plumb_aligned16((const T *)x[i]->data, 0)) return false;
    for (int i = 0; i < 5; i++)
        if (ld[i] % plumb_vec<T>::n) return false;
    return true;
}

static inline int attn_describe(const struct plumb_attention *a, bool backward, struct attn_job *j)
{
    if (a->K > PLUMB_ATTENTION_MOST_WIDTH)
        return plumb_fail(PLUMB_ENOTSUP, "attention: K=%lld, a GPU takes heads of at most %d",
                          (long long)a->K, PLUMB_ATTENTION_MOST_WIDTH);
    if (a->N > INT32_MAX / a->Hq)
        return plumb_fail(PLUMB_ENOTSUP, "attention: N=%lld rows of Hq=%lld heads are too many",
                          (long long)a->N, (long long)a->Hq);
    const bool f32 = a->q.dtype == PLUMB_F32;
    const double log2e = f32 ? 1 : 1.4426950408889634, cap = a->softcap;
    j->q = a->q.data, j->k = a->k.data, j->v = a->v.data, j->d_o = a->d_o.data;
    j->o = a->o.data, j->dq = a->dq.data, j->dk = a->dk.data, j->dv = a->dv.data;
    j->lse = (float *)a->lse.data;
    j->ldq = a->ldq ? a->ldq : a->Hq * a->K;
    j->ldk = a->ldk ? a->ldk : a->Hkv * a->K;
    j->ldv = a->ldv ? a->ldv : a->Hkv * a->K;
    j->ldo = a->ldo ? a->ldo : a->Hq * a->K;
    j->Hq = (int)a->Hq;
    j->Hkv = (int)a->Hkv;
    j->K = (int)a->K;
    j->G = (int)(a->Hq / a->Hkv);
    j->window = a->window > 0 && a->window < INT32_MAX ? (int)a->window : INT32_MAX;
    j->wide = f32 ? attn_is_wide<float>(a, backward) : attn_is_wide<__nv_bfloat16>(a, backward);
    j->capped = cap > 0;
    j->scale = (float)a->scale;
    j->in = (float)(cap > 0 ? a->scale / cap : 1);
    j->factor = (float)((cap > 0 ? cap : a->scale) * log2e);
    j->lse_in = (float)log2e;
    j->lse_out = (float)(1 / log2e);
    plumb_attention_tables_at(&j->t, a, backward, a->work.data);
    return PLUMB_OK;
}
