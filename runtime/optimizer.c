/* The optimizer step: norm, clip, AdamW, weights in the compute dtype. */
#include "runtime/optimizer.h"

#include <plumb/device.h>
#include <plumb/optim.h>
#include <string.h>

/* One byte for every 32 elements; built in `table`, host memory. */
static void mark_decaying(const struct plumb_flat *f, uint8_t *table, size_t runs)
{
    memset(table, 0, runs);
    for (int64_t k = 0; k < f->param_count; k++) {
        const struct plumb_param *p = &f->params[k];
        const int64_t first = p->offset / 32, last = (p->offset + p->rows * p->cols + 31) / 32;
        if (p->decay) memset(table + first, 1, (size_t)(last - first));
    }
}

int plumb_optimizer_init(struct plumb_optimizer *o, const struct plumb_model *m,
                         struct plumb_arena *run)
{
    const struct plumb_flat f = plumb_model_trained(m);
    *o = (struct plumb_optimizer){ 0 };
    PLUMB_TRY(plumb_arena_tensor(run, m->prec.master, f.elements, &o->m));
    PLUMB_TRY(plumb_arena_tensor(run, m->prec.master, f.elements, &o->v));
    void *decay, *table, *verdict;
    const size_t runs = (size_t)((f.elements + 31) / 32);
    PLUMB_TRY(plumb_arena_push_device(run, runs, &decay));
    PLUMB_TRY(plumb_arena_push_device(run, sizeof *o->verdict, &verdict));
    const struct plumb_gradnorm g = { .struct_bytes = sizeof g, .count = f.elements };
    PLUMB_TRY(plumb_arena_push_device(run, plumb_gradnorm_workspace(&m->dev, &g), &o->work.data));
    o->work.dtype = m->prec.master;
    o->decay = decay;
    o->verdict = verdict;
    table = decay;
    if (!plumb_device_is_host(&m->dev)) PLUMB_TRY(plumb_arena_push(run, runs, &table));
    if (!decay) return PLUMB_OK;
    const size_t bytes = (size_t)f.elements * plumb_dtype_bytes(m->prec.master);
    PLUMB_TRY(plumb_device_zero(&m->dev, o->m.data, bytes));
    PLUMB_TRY(plumb_device_zero(&m->dev, o->v.data, bytes));
    mark_decaying(&f, table, runs);
    return plumb_device_upload(&m->dev, decay, table, runs);
}

int plumb_optimizer_check(const struct plumb_model *m, int64_t step,
                          const struct plumb_optimizer_verdict *v)
{
    if (v->first_bad < 0) return PLUMB_OK;
    char text[160];
    return plumb_fail(PLUMB_ENUM, "step %lld: the gradient of %s", (long long)step,
                      plumb_model_owner(m, v->first_bad, text, sizeof text));
}

int plumb_optimizer_step(struct plumb_optimizer *o, struct plumb_model *m, int64_t step, double lr)
{
    const struct plumb_flat f = plumb_model_trained(m);
    const struct plumb_gradnorm g = { .struct_bytes = sizeof g,
                                      .count = f.elements,
                                      .x = f.grad,
                                      .norm = &o->verdict->norm,
                                      .first_bad = &o->verdict->first_bad,
                                      .work = o->work };
    PLUMB_TRY(plumb_gradnorm(&m->dev, &g));
    const bool copies = f.master.data && f.weights.data != f.master.data;
    const struct plumb_adamw a = {
        .struct_bytes = sizeof a,
        .count = f.elements,
        .grad = f.grad,
        .m = o->m,
        .v = o->v,
        .w = plumb_flat_exact(&f),
        .copy = { copies ? f.weights.data : NULL, f.weights.dtype },
        .decay = o->decay,
        .lr = lr,
        .beta1 = o->beta1,
        .beta2 = o->beta2,
        .eps = o->eps,
        .weight_decay = o->weight_decay,
        .grad_scale = 1,
        .norm = &o->verdict->norm,
        .max_grad_norm = o->max_grad_norm,
        .step = step,
        .seed = o->seed,
    };
    return plumb_adamw(&m->dev, &a);
}
