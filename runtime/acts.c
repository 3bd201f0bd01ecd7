/* Storage of a batch's activations. */
#include <plumb/attention.h>
#include <plumb/embed.h>
#include <plumb/glu.h>
#include <plumb/norm.h>
#include <plumb/reduce.h>

#include "runtime/model.h"

static int64_t qkv_width(const struct plumb_model_config *c)
{
    return (c->heads + 2 * c->kv_heads) * c->head_size;
}

static int64_t up_width(const struct plumb_model_config *c)
{
    return plumb_act_is_gated(c->act) ? 2 * c->ffn : c->ffn;
}

struct push {
    struct plumb_arena *arena;
    int rc;
};

static void push(struct push *p, enum plumb_dtype t, int64_t count, struct plumb_tensor *out)
{
    if (!p->rc) p->rc = plumb_arena_tensor(p->arena, t, count, out);
}

/* Everything of a layer but its input. */
static void push_layer(struct push *p, const struct plumb_model *m, int64_t N, bool backward,
                       struct plumb_layer_acts *l)
{
    const struct plumb_model_config *c = &m->config;
    const enum plumb_dtype compute = m->prec.compute, stat = m->prec.master;
    push(p, compute, N * qkv_width(c), &l->qkv);
    push(p, compute, N * c->heads * c->head_size, &l->o);
    push(p, compute, N * up_width(c), &l->up);
    if (c->qk_norm) push(p, compute, N * (c->heads + c->kv_heads) * c->head_size, &l->qk);
    if (c->parallel_residual || !backward)
        l->r2 = l->r;
    else
        push(p, m->prec.resid, N * c->width, &l->r2);
    if (!backward) return;
    push(p, stat, N * c->heads, &l->lse);
    push(p, stat, N, &l->rstd1);
    push(p, stat, N, &l->rstd2);
    if (c->norm == PLUMB_NORM_LAYER) {
        push(p, stat, N, &l->mean1);
        push(p, stat, N, &l->mean2);
    }
    if (!c->qk_norm) return;
    push(p, stat, N * c->heads, &l->rstd_q);
    push(p, stat, N * c->kv_heads, &l->rstd_k);
}

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

/* The largest scratch that any op of the decoder asks for. */
static size_t work_bytes(const struct plumb_model *m, int64_t N, int64_t keys, bool backward)
{
    const struct plumb_model_config *c = &m->config;
    const struct plumb_attention at = {
        .struct_bytes = sizeof at,
        .N = keys,
        .forest = { .S = keys }, /* as many segments as rows at most */
        .Hq = c->heads,
        .Hkv = c->kv_heads,
        .K = c->head_size,
        .q = { NULL, m->prec.compute }
    };
    size_t n = plumb_attention_workspace(&m->dev, &at, false);
    if (!backward) return n;
    n = larger(n, plumb_attention_workspace(&m->dev, &at, true));
    const struct plumb_norm wide = { .struct_bytes = sizeof wide,
                                     .kind = c->norm,
                                     .N = N,
                                     .G = 1,
                                     .D = c->width };
    const struct plumb_norm heads = { .struct_bytes = sizeof heads,
                                      .kind = c->norm,
                                      .N = N,
                                      .G = c->heads,
                                      .D = c->head_size };
    n = larger(n, plumb_norm_bwd_workspace(&m->dev, &wide));
    n = larger(n, plumb_norm_bwd_workspace(&m->dev, &heads));
    const struct plumb_embed rows = { .struct_bytes = sizeof rows, .N = N };
    n = larger(n, plumb_embed_bwd_workspace(&m->dev, &rows));
    const int64_t widths[] = { c->width, qkv_width(c), up_width(c) };
    for (int i = 0; i < 3; i++) {
        const struct plumb_colsum s = { .struct_bytes = sizeof s, .N = N, .D = widths[i] };
        n = larger(n, plumb_colsum_workspace(&m->dev, &s));
    }
    return n;
}

static void push_backward(struct push *p, const struct plumb_model *m, int64_t N,
                          struct plumb_acts *a)
{
    const struct plumb_model_config *c = &m->config;
    const enum plumb_dtype compute = m->prec.compute;
    push(p, m->prec.resid, N * c->width, &a->dhidden);
    push(p, m->prec.resid, N * c->width, &a->g);
    push(p, compute, N * c->width, &a->gc);
    push(p, compute, N * c->width, &a->dy);
    push(p, compute, N * qkv_width(c), &a->dqkv);
    if (c->qk_norm) push(p, compute, N * (c->heads + c->kv_heads) * c->head_size, &a->dqk);
    push(p, compute, N * up_width(c), &a->dup);
    push(p, compute, N * c->ffn, &a->dact);
    push(p, compute, N * c->heads * c->head_size, &a->d_o);
    if (m->adapters.lora.rank == 0) return;
    push(p, compute, N * m->adapters.stacked, &a->dlow);
    if (m->adapters.lora.dropout > 0) push(p, compute, N * m->adapters.widest, &a->masked);
}

int plumb_acts_init(struct plumb_acts *a, const struct plumb_model *m, int64_t N, int64_t keys,
                    bool backward, struct plumb_arena *step)
{
    const struct plumb_model_config *c = &m->config;
    const bool kept = backward && !m->recompute;
    const int64_t layers = backward ? c->layers : 1;
    *a = (struct plumb_acts){ .N = N, .backward = backward };
    void *table;
    PLUMB_TRY(plumb_arena_push(step, (size_t)layers * sizeof *a->layer, &table));
    a->layer = table;
    struct push p = { step, PLUMB_OK };
    for (int64_t i = 0; i < layers; i++) {
        struct plumb_layer_acts l = { 0 };
        push(&p, m->prec.resid, N * c->width, &l.r);
        if (kept || !backward) push_layer(&p, m, N, backward, &l);
        if (a->layer) a->layer[i] = l;
    }
    if (backward && m->recompute) push_layer(&p, m, N, true, &a->again);
    push(&p, m->prec.resid, N * c->width, &a->r_final);
    push(&p, m->prec.master, N, &a->rstdf);
    if (c->norm == PLUMB_NORM_LAYER) push(&p, m->prec.master, N, &a->meanf);
    push(&p, m->prec.compute, N * c->width, &a->hidden);
    push(&p, m->prec.compute, N * c->width, &a->y);
    push(&p, m->prec.compute, N * c->width, &a->delta);
    push(&p, m->prec.compute, N * c->ffn, &a->act);
    push(&p, m->prec.compute, N * m->adapters.stacked, &a->low); /* nothing without adapters */
    if (backward) push_backward(&p, m, N, a);
    PLUMB_TRY(p.rc);
    a->work_bytes = work_bytes(m, N, keys, backward);
    a->work.dtype = m->prec.master;
    return plumb_arena_push_device(step, a->work_bytes, &a->work.data);
}
