/* A decoder layer backward. Cheap intermediates (norm outputs, the activation) are computed
 * again, not kept. */
#include <plumb/glu.h>
#include <plumb/optim.h>

#include "runtime/layer.h"

/* gc = g in the compute dtype: what the products read. */
static int cast_gradient(const struct plumb_layer *p)
{
    const struct plumb_cast c = { .struct_bytes = sizeof c,
                                  .count = p->batch->N * p->m->config.width,
                                  .x = p->a->g,
                                  .y = p->a->gc };
    return plumb_cast(&p->m->dev, &c);
}

/* Through y = norm(r): recomputes y for the weight's gradient of `next`, then g += d/dr. */
static int norm_and_linear(const struct plumb_layer *p, enum plumb_role norm_role,
                           enum plumb_role linear_role, struct plumb_tensor dy)
{
    const bool first = norm_role == PLUMB_ROLE_NORM1;
    struct plumb_norm norm = plumb_layer_norm(p->m, norm_role, p->index, p->batch->N);
    norm.x = first ? p->l.r : p->l.r2;
    norm.y = p->a->y;
    PLUMB_TRY(plumb_norm_fwd(&p->m->dev, &norm));
    struct plumb_linear linear = plumb_layer_linear(p, linear_role);
    linear.x = p->a->y;
    linear.dy = dy;
    linear.dx = p->a->dy;
    PLUMB_TRY(plumb_linear_bwd(&linear));
    norm.rstd = first ? p->l.rstd1 : p->l.rstd2;
    norm.mean = first ? p->l.mean1 : p->l.mean2;
    norm.dy = p->a->dy;
    norm.dsum = p->a->g;
    norm.dx = p->a->g;
    norm.work = p->a->work;
    return plumb_norm_bwd(&p->m->dev, &norm);
}

static int mlp_block(const struct plumb_layer *p)
{
    struct plumb_glu glu = { .struct_bytes = sizeof glu,
                             .kind = p->m->config.act,
                             .N = p->batch->N,
                             .F = p->m->config.ffn,
                             .x = p->l.up,
                             .y = p->a->act,
                             .dy = p->a->dact,
                             .dx = p->a->dup };
    PLUMB_TRY(plumb_glu_fwd(&p->m->dev, &glu));
    struct plumb_linear down = plumb_layer_linear(p, PLUMB_ROLE_DOWN);
    down.x = p->a->act;
    down.dy = p->a->gc;
    down.dx = p->a->dact;
    PLUMB_TRY(plumb_linear_bwd(&down));
    PLUMB_TRY(plumb_glu_bwd(&p->m->dev, &glu));
    return norm_and_linear(p, PLUMB_ROLE_NORM2, PLUMB_ROLE_UP, p->a->dup);
}

static int qk_norm(const struct plumb_layer *p, enum plumb_role role)
{
    struct plumb_norm norm = plumb_layer_qk_norm(p, role);
    const int64_t first = role == PLUMB_ROLE_QNORM ? 0
                                                   : p->m->config.heads * p->m->config.head_size;
    norm.dy = plumb_tensor_at(p->a->dqk, first);
    norm.dx = plumb_tensor_at(p->a->dqkv, first);
    norm.work = p->a->work;
    return plumb_norm_bwd(&p->m->dev, &norm);
}

static int attention_block(const struct plumb_layer *p)
{
    const struct plumb_model_config *c = &p->m->config;
    struct plumb_linear o = plumb_layer_linear(p, PLUMB_ROLE_O);
    o.x = p->l.o;
    o.dy = p->a->gc;
    o.dx = p->a->d_o;
    PLUMB_TRY(plumb_linear_bwd(&o));
    struct plumb_attention attention = plumb_layer_attention(p);
    attention.d_o = p->a->d_o;
    const int64_t q = c->heads * c->head_size, kv = c->kv_heads * c->head_size;
    const struct plumb_tensor dqk = c->qk_norm ? p->a->dqk : p->a->dqkv;
    attention.dq = dqk;
    attention.dk = plumb_tensor_at(dqk, q);
    attention.dv = plumb_tensor_at(p->a->dqkv, q + kv);
    PLUMB_TRY(plumb_attention_bwd(&p->m->dev, &attention));
    PLUMB_TRY(plumb_layer_rotate(p, dqk, attention.ldq, true));
    if (c->qk_norm) {
        PLUMB_TRY(qk_norm(p, PLUMB_ROLE_QNORM));
        PLUMB_TRY(qk_norm(p, PLUMB_ROLE_KNORM));
    }
    return norm_and_linear(p, PLUMB_ROLE_NORM1, PLUMB_ROLE_QKV, p->a->dqkv);
}

int plumb_layer_bwd(const struct plumb_layer *p)
{
    PLUMB_TRY(cast_gradient(p));
    PLUMB_TRY(mlp_block(p));
    /* With parallel residual the attention block's output got the layer's gradient alone: gc as
     * it is. */
    if (!p->m->config.parallel_residual) PLUMB_TRY(cast_gradient(p));
    return attention_block(p);
}
