/* The decoder: embedding, layers, final norm; forward and backward. */
#include <plumb/embed.h>

#include "runtime/layer.h"

static struct plumb_embed embedding(const struct plumb_model *m, const struct plumb_batch *b)
{
    const struct plumb_param *w = plumb_model_find(m, PLUMB_ROLE_EMBED, -1);
    const struct plumb_param *p = plumb_model_find(m, PLUMB_ROLE_POSITION, -1);
    return (struct plumb_embed){
        .struct_bytes = sizeof(struct plumb_embed),
        .N = b->N,
        .D = m->config.width,
        .V = m->config.vocab,
        .P = p ? p->rows : 0,
        .token = b->token,
        .position = p ? b->position : NULL,
        .scale = m->config.embed_scale,
        .w = plumb_model_weight(m, w),
        .wpos = plumb_model_weight(m, p),
        .dw = plumb_model_grad(m, w),
        .dwpos = plumb_model_grad(m, p),
    };
}

/* Where layer i keeps its tensors: its own, those shared by all, or the recomputed ones beside
 * its own input. */
static struct plumb_layer_acts layer_acts(const struct plumb_model *m, const struct plumb_acts *a,
                                          int64_t i)
{
    if (!a->backward) return a->layer[0];
    if (!m->recompute) return a->layer[i];
    struct plumb_layer_acts l = a->again;
    l.r = a->layer[i].r;
    if (m->config.parallel_residual) l.r2 = l.r;
    return l;
}

int plumb_model_forward(const struct plumb_model *m, const struct plumb_batch *batch,
                        struct plumb_acts *a)
{
    PLUMB_ASSERT(batch->N <= a->N);
    struct plumb_embed embed = embedding(m, batch);
    embed.y = a->layer[0].r;
    PLUMB_TRY(plumb_embed_fwd(&m->dev, &embed));
    struct plumb_layer p = { .m = m, .batch = batch, .a = a };
    for (p.index = 0; p.index < m->config.layers; p.index++) {
        p.l = layer_acts(m, a, p.index);
        PLUMB_TRY(plumb_layer_fwd(&p));
        p.before = p.l.r2;
    }
    struct plumb_norm norm = plumb_layer_norm(m, PLUMB_ROLE_NORMF, -1, batch->N);
    norm.x = p.before;
    norm.delta = a->delta;
    norm.sum = a->r_final;
    norm.y = a->hidden;
    norm.rstd = a->rstdf;
    norm.mean = a->meanf;
    return plumb_norm_fwd(&m->dev, &norm);
}

int plumb_model_backward(const struct plumb_model *m, const struct plumb_batch *batch,
                         struct plumb_acts *a)
{
    PLUMB_ASSERT(a->backward && plumb_model_trained(m).grad.data);
    struct plumb_norm norm = plumb_layer_norm(m, PLUMB_ROLE_NORMF, -1, batch->N);
    norm.x = a->r_final;
    norm.rstd = a->rstdf;
    norm.mean = a->meanf;
    norm.dy = a->dhidden;
    norm.dx = a->g;
    norm.work = a->work;
    PLUMB_TRY(plumb_norm_bwd(&m->dev, &norm));
    struct plumb_layer p = { .m = m, .batch = batch, .a = a };
    for (p.index = (int32_t)m->config.layers - 1; p.index >= 0; p.index--) {
        p.l = layer_acts(m, a, p.index);
        if (m->recompute) PLUMB_TRY(plumb_layer_fwd(&p));
        PLUMB_TRY(plumb_layer_bwd(&p));
    }
    struct plumb_embed embed = embedding(m, batch);
    if (!embed.dw.data) return PLUMB_OK; /* frozen below adapters */
    embed.dy = a->g;
    embed.work = a->work;
    return plumb_embed_bwd(&m->dev, &embed);
}
