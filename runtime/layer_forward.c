/* A decoder layer forward, and the descriptions of its parts. */
#include <plumb/glu.h>
#include <plumb/optim.h>
#include <plumb/place.h>

#include "runtime/kvcache.h"
#include "runtime/layer.h"

struct plumb_tensor plumb_tensor_at(struct plumb_tensor t, int64_t element)
{
    if (t.data) t.data = (char *)t.data + (size_t)element * plumb_dtype_bytes(t.dtype);
    return t;
}

struct plumb_norm plumb_layer_norm(const struct plumb_model *m, enum plumb_role role, int32_t layer,
                                   int64_t N)
{
    const struct plumb_param *w = plumb_model_find(m, role, layer);
    const struct plumb_param *b = plumb_model_find(m, (enum plumb_role)(role + 1), layer);
    const bool bias = m->config.norm == PLUMB_NORM_LAYER;
    return (struct plumb_norm){
        .struct_bytes = sizeof(struct plumb_norm),
        .kind = m->config.norm,
        .N = N,
        .G = 1,
        .D = m->config.width,
        .eps = m->config.norm_eps,
        .offset = m->config.norm_offset,
        .w = plumb_model_weight(m, w),
        .b = plumb_model_weight(m, bias ? b : NULL),
        .dw = plumb_model_grad(m, w),
        .db = plumb_model_grad(m, bias ? b : NULL),
    };
}

struct plumb_norm plumb_layer_qk_norm(const struct plumb_layer *p, enum plumb_role role)
{
    const struct plumb_model_config *c = &p->m->config;
    const bool q = role == PLUMB_ROLE_QNORM;
    const struct plumb_param *w = plumb_model_find(p->m, role, p->index);
    const int64_t heads = c->heads + c->kv_heads;
    return (struct plumb_norm){
        .struct_bytes = sizeof(struct plumb_norm),
        .kind = PLUMB_NORM_RMS,
        .N = p->batch->N,
        .G = q ? c->heads : c->kv_heads,
        .D = c->head_size,
        .ldx = (heads + c->kv_heads) * c->head_size,
        .ldy = heads * c->head_size,
        .eps = c->norm_eps,
        .offset = c->norm_offset,
        .x = plumb_tensor_at(p->l.qkv, q ? 0 : c->heads * c->head_size),
        .y = plumb_tensor_at(p->l.qk, q ? 0 : c->heads * c->head_size),
        .rstd = q ? p->l.rstd_q : p->l.rstd_k,
        .w = plumb_model_weight(p->m, w),
        .dw = plumb_model_grad(p->m, w),
    };
}

struct plumb_linear plumb_layer_linear(const struct plumb_layer *p, enum plumb_role role)
{
    return (struct plumb_linear){
        .m = p->m,
        .N = p->batch->N,
        .w = plumb_model_find(p->m, role, p->index),
        .b = plumb_model_find(p->m, (enum plumb_role)(role + 1), p->index),
        .batch = p->batch,
        .a = p->a,
    };
}

struct plumb_attention plumb_layer_attention(const struct plumb_layer *p)
{
    const struct plumb_model_config *c = &p->m->config;
    const int64_t q = c->heads * c->head_size, kv = c->kv_heads * c->head_size;
    const struct plumb_tensor qk = c->qk_norm ? p->l.qk : p->l.qkv;
    return (struct plumb_attention){
        .struct_bytes = sizeof(struct plumb_attention),
        .N = p->batch->N,
        .Hq = c->heads,
        .Hkv = c->kv_heads,
        .K = c->head_size,
        .forest = p->batch->forest,
        .ldq = c->qk_norm ? q + kv : q + 2 * kv,
        .ldk = c->qk_norm ? q + kv : q + 2 * kv,
        .ldv = q + 2 * kv,
        .scale = c->attention_scale,
        .softcap = c->attention_softcap,
        .window = p->index < c->window_layers ? c->window : 0,
        .q = qk,
        .k = plumb_tensor_at(qk, q),
        .v = plumb_tensor_at(p->l.qkv, q + kv),
        .o = p->l.o,
        .lse = p->l.lse,
        .work = p->a->work,
    };
}

int plumb_layer_rotate(const struct plumb_layer *p, struct plumb_tensor qk, int64_t ld,
                       bool inverse)
{
    const struct plumb_model_config *c = &p->m->config;
    if (c->rope == PLUMB_ROPE_NONE) return PLUMB_OK;
    const struct plumb_rope r = {
        .struct_bytes = sizeof r,
        .kind = c->rope,
        .N = p->batch->N,
        .H = c->heads + c->kv_heads,
        .K = c->head_size,
        .R = c->rope_dims,
        .ld = ld,
        .P = p->m->rope_rows,
        .position = p->batch->position,
        .cos = p->m->rope_cos,
        .sin = p->m->rope_sin,
        .x = qk,
        .y = qk,
        .inverse = inverse,
    };
    return plumb_rope(&p->m->dev, &r);
}

/* Writes the new keys or values to their rows of the cache. */
static int remember(const struct plumb_layer *p, struct plumb_tensor x, int64_t ldx,
                    struct plumb_tensor y)
{
    const struct plumb_kvcache *cache = p->a->cache;
    const struct plumb_place rows = { .struct_bytes = sizeof rows,
                                      .N = p->batch->N,
                                      .D = p->m->config.kv_heads * p->m->config.head_size,
                                      .R = cache->pages * PLUMB_KV_PAGE,
                                      .ldx = ldx,
                                      .to = cache->place,
                                      .x = x,
                                      .y = y };
    return plumb_place(&p->m->dev, &rows);
}

/* The new rows' queries against what the cache holds of their texts. */
static int attend_cache(const struct plumb_layer *p, struct plumb_attention a)
{
    const struct plumb_kvcache *cache = p->a->cache;
    PLUMB_TRY(remember(p, a.k, a.ldk, cache->k[p->index]));
    PLUMB_TRY(remember(p, a.v, a.ldv, cache->v[p->index]));
    a.N = cache->pages * PLUMB_KV_PAGE;
    a.forest = cache->forest;
    a.q_start = cache->q_start;
    a.q_count = cache->q_count;
    a.k = cache->k[p->index];
    a.v = cache->v[p->index];
    a.ldk = a.ldv = 0;
    return plumb_attention_fwd(&p->m->dev, &a);
}

static int attention_block(const struct plumb_layer *p)
{
    const struct plumb_model *m = p->m;
    struct plumb_norm norm = plumb_layer_norm(m, PLUMB_ROLE_NORM1, p->index, p->batch->N);
    norm.x = p->before.data ? p->before : p->l.r;
    if (p->before.data) norm.delta = p->a->delta, norm.sum = p->l.r;
    norm.y = p->a->y;
    norm.rstd = p->l.rstd1;
    norm.mean = p->l.mean1;
    PLUMB_TRY(plumb_norm_fwd(&m->dev, &norm));
    struct plumb_linear qkv = plumb_layer_linear(p, PLUMB_ROLE_QKV);
    qkv.x = p->a->y;
    qkv.y = p->l.qkv;
    PLUMB_TRY(plumb_linear_fwd(&qkv));
    const struct plumb_attention attention = plumb_layer_attention(p);
    if (m->config.qk_norm) {
        const struct plumb_norm q = plumb_layer_qk_norm(p, PLUMB_ROLE_QNORM);
        const struct plumb_norm k = plumb_layer_qk_norm(p, PLUMB_ROLE_KNORM);
        PLUMB_TRY(plumb_norm_fwd(&m->dev, &q));
        PLUMB_TRY(plumb_norm_fwd(&m->dev, &k));
    }
    PLUMB_TRY(plumb_layer_rotate(p, attention.q, attention.ldq, false));
    if (p->a->cache)
        PLUMB_TRY(attend_cache(p, attention));
    else
        PLUMB_TRY(plumb_attention_fwd(&m->dev, &attention));
    struct plumb_linear o = plumb_layer_linear(p, PLUMB_ROLE_O);
    o.x = p->l.o;
    o.y = p->a->delta;
    return plumb_linear_fwd(&o);
}

static int mlp_block(const struct plumb_layer *p)
{
    const struct plumb_model *m = p->m;
    const bool parallel = m->config.parallel_residual;
    struct plumb_norm norm = plumb_layer_norm(m, PLUMB_ROLE_NORM2, p->index, p->batch->N);
    norm.x = p->l.r;
    if (!parallel) norm.delta = p->a->delta, norm.sum = p->l.r2;
    norm.y = p->a->y;
    norm.rstd = p->l.rstd2;
    norm.mean = p->l.mean2;
    PLUMB_TRY(plumb_norm_fwd(&m->dev, &norm));
    struct plumb_linear up = plumb_layer_linear(p, PLUMB_ROLE_UP);
    up.x = p->a->y;
    up.y = p->l.up;
    PLUMB_TRY(plumb_linear_fwd(&up));
    const struct plumb_glu glu = { .struct_bytes = sizeof glu,
                                   .kind = m->config.act,
                                   .N = p->batch->N,
                                   .F = m->config.ffn,
                                   .x = p->l.up,
                                   .y = p->a->act };
    PLUMB_TRY(plumb_glu_fwd(&m->dev, &glu));
    struct plumb_linear down = plumb_layer_linear(p, PLUMB_ROLE_DOWN);
    down.x = p->a->act;
    down.y = parallel ? p->a->y : p->a->delta;
    PLUMB_TRY(plumb_linear_fwd(&down));
    if (!parallel) return PLUMB_OK;
    const struct plumb_cast add = { .struct_bytes = sizeof add,
                                    .count = p->batch->N * m->config.width,
                                    .x = p->a->y,
                                    .y = p->a->delta,
                                    .accumulate = true };
    return plumb_cast(&m->dev, &add);
}

int plumb_layer_fwd(const struct plumb_layer *p)
{
    PLUMB_TRY(attention_block(p));
    return mlp_block(p);
}
