/* Heads: the LM head's arguments and the scalar head. */
#include "runtime/head.h"

#include <plumb/device.h>
#include <plumb/embed.h>
#include <plumb/matmul.h>

int plumb_head_init(struct plumb_head_out *h, const struct plumb_model *m, int64_t N, int64_t M,
                    bool backward, struct plumb_arena *step)
{
    const enum plumb_dtype stat = m->prec.master;
    *h = (struct plumb_head_out){ .M = M, .temperature = 1 };
    PLUMB_TRY(plumb_arena_tensor(step, stat, M, &h->logp));
    PLUMB_TRY(plumb_arena_tensor(step, stat, M, &h->entropy));
    PLUMB_TRY(plumb_arena_tensor(step, stat, M, &h->mean_logit));
    if (backward) PLUMB_TRY(plumb_arena_tensor(step, stat, M, &h->dlogp));
    void *argmax;
    PLUMB_TRY(plumb_arena_push_device(step, (size_t)M * sizeof *h->argmax, &argmax));
    h->argmax = argmax;
    /* Only presence and dtypes count for the size; on a counting arena there are no addresses
     * yet. */
    static char present;
    const struct plumb_batch b = { .N = N, .targets = { .M = M } };
    const struct plumb_acts a = { .backward = backward,
                                  .hidden = { &present, m->prec.compute },
                                  .dhidden = { &present, m->prec.resid } };
    struct plumb_logprob args = plumb_head_args(m, &b, &a, h);
    args.logp.data = args.entropy.data = args.mean_logit.data = &present;
    if (backward) args.dlogp.data = args.dx.data = args.dw.data = &present;
    h->work_bytes = plumb_logprob_workspace(&m->dev, &args);
    h->work.dtype = stat;
    return plumb_arena_push_device(step, h->work_bytes, &h->work.data);
}

struct plumb_logprob plumb_head_args(const struct plumb_model *m, const struct plumb_batch *b,
                                     const struct plumb_acts *a, const struct plumb_head_out *h)
{
    struct plumb_logprob l = {
        .struct_bytes = sizeof l,
        .N = b->N,
        .H = m->config.width,
        .V = m->config.vocab,
        .M = b->targets.M,
        .x = a->hidden,
        .w = plumb_model_weight(m, plumb_model_head(m)),
        .bias = plumb_model_weight(m, plumb_model_head_bias(m)),
        .row = b->targets.row,
        .target = b->targets.target,
        .logit_scale = m->config.logit_scale,
        .softcap = m->config.final_softcap,
        .temperature = h->temperature,
        .batch_invariant = m->batch_invariant,
        .logp = h->logp,
        .entropy = h->entropy,
        .mean_logit = h->mean_logit,
        .log_sum_sq = h->log_sum_sq,
        .argmax = h->argmax,
        .work = h->work,
    };
    if (!a->backward || !h->dlogp.data) return l;
    l.dlogp = h->dlogp;
    l.dx = a->dhidden;
    l.dw = plumb_model_grad(m, plumb_model_head(m));
    l.dbias = plumb_model_grad(m, plumb_model_head_bias(m));
    return l;
}

/* Gathering rows is an embedding whose table is the hidden states. */
static struct plumb_embed gather(const struct plumb_model *m, int64_t N,
                                 const struct plumb_score *s)
{
    return (struct plumb_embed){ .struct_bytes = sizeof(struct plumb_embed),
                                 .N = s->B,
                                 .D = m->config.width,
                                 .V = N,
                                 .token = s->rows,
                                 .scale = 1 };
}

int plumb_score_fwd(const struct plumb_model *m, const struct plumb_acts *a,
                    const struct plumb_score *s)
{
    struct plumb_embed rows = gather(m, a->N, s);
    rows.w = a->hidden;
    rows.y = s->panel;
    PLUMB_TRY(plumb_embed_fwd(&m->dev, &rows));
    const struct plumb_param *w = plumb_model_find(m, PLUMB_ROLE_SCORE, -1);
    const struct plumb_matmul scores = {
        .struct_bytes = sizeof scores,
        .M = s->B,
        .N = w->rows,
        .K = w->cols,
        .a = s->panel,
        .b = plumb_model_weight(m, w),
        .trans_b = true,
        .c = s->scores,
        .batch_invariant = m->batch_invariant,
    };
    return plumb_matmul(&m->dev, &scores);
}

int plumb_score_bwd(const struct plumb_model *m, const struct plumb_batch *b, struct plumb_acts *a,
                    const struct plumb_score *s)
{
    const struct plumb_param *w = plumb_model_find(m, PLUMB_ROLE_SCORE, -1);
    const struct plumb_matmul dw = {
        .struct_bytes = sizeof dw,
        .M = w->rows,
        .N = w->cols,
        .K = s->B,
        .a = s->dscores,
        .trans_a = true,
        .b = s->panel,
        .c = plumb_model_grad(m, w),
        .accumulate = true,
    };
    if (dw.c.data) PLUMB_TRY(plumb_matmul(&m->dev, &dw));
    const struct plumb_matmul dx = {
        .struct_bytes = sizeof dx,
        .M = s->B,
        .N = w->cols,
        .K = w->rows,
        .a = s->dscores,
        .b = plumb_model_weight(m, w),
        .c = s->dpanel,
    };
    PLUMB_TRY(plumb_matmul(&m->dev, &dx));
    PLUMB_TRY(plumb_device_zero(&m->dev, a->dhidden.data,
                                (size_t)(b->N * m->config.width) *
                                    plumb_dtype_bytes(a->dhidden.dtype)));
    struct plumb_embed rows = gather(m, b->N, s);
    rows.dy = s->dpanel;
    rows.dw = a->dhidden;
    rows.work = a->work;
    if (plumb_embed_bwd_workspace(&m->dev, &rows) > a->work_bytes)
        return plumb_fail(PLUMB_EINVAL, "score: B=%lld rows, but room for N=%lld tokens",
                          (long long)s->B, (long long)a->N);
    return plumb_embed_bwd(&m->dev, &rows);
}
