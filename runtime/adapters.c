/* Adapters' flat buffers: layout, starting weights, lookup. */
#include "runtime/adapters.h"

#include <math.h>
#include <plumb/optim.h>
#include <plumb/rng.h>
#include <stdio.h>
#include <string.h>

#include "runtime/read.h"
#include "runtime/transfer.h"

#define ALIGN 32 /* elements between offsets, as in a model's own buffers */

static int check(const struct plumb_lora *l, const struct plumb_param *base, int64_t base_count)
{
    if (l->rank < 1) return plumb_fail(PLUMB_EINVAL, "lora: rank=%lld", (long long)l->rank);
    for (int64_t i = 0; i < l->count; i++) {
        const struct plumb_adapter *a = &l->adapter[i], *before = i ? a - 1 : NULL;
        const bool known = a->param >= 0 && a->param < base_count;
        const struct plumb_param *p = known ? &base[a->param] : NULL;
        if (!p || p->layer < 0 || !p->decay || a->first < 0 || a->rows < 1 ||
            a->rows > p->rows - a->first)
            return plumb_fail(PLUMB_EINVAL, "lora: adapter %lld stands on no rows of a matrix",
                              (long long)i);
        if (before && (before->param > a->param ||
                       (before->param == a->param && before->first + before->rows > a->first)))
            return plumb_fail(PLUMB_EINVAL,
                              "lora: adapters %lld and %lld overlap or are not in "
                              "order",
                              (long long)i - 1, (long long)i);
    }
    for (int64_t i = 0; i < l->whole_count; i++)
        if (l->whole[i] < 0 || l->whole[i] >= base_count ||
            (i > 0 && l->whole[i - 1] >= l->whole[i]))
            return plumb_fail(PLUMB_EINVAL, "lora: parameter %lld cannot be trained whole",
                              (long long)l->whole[i]);
    return PLUMB_OK;
}

struct list {
    struct plumb_param *out;
    int64_t n, elements;
};

static int64_t append(struct list *l, struct plumb_param p, int64_t rows, int64_t cols)
{
    p.rows = rows;
    p.cols = cols;
    p.offset = l->elements;
    l->out[l->n++] = p;
    l->elements += (rows * cols + ALIGN - 1) / ALIGN * ALIGN;
    return p.offset;
}

int plumb_lora_params(const struct plumb_lora *l, const struct plumb_param *base,
                      int64_t base_count, struct plumb_param *out, int64_t *n, int64_t *elements)
{
    PLUMB_TRY(check(l, base, base_count));
    struct list list = { .out = out };
    int64_t i = 0, w = 0;
    for (int64_t k = 0; k < base_count; k++) {
        const int64_t first = i;
        if (w < l->whole_count && l->whole[w] == k)
            append(&list, base[k], base[k].rows, base[k].cols), w++;
        while (i < l->count && l->adapter[i].param == k)
            i++;
        if (i == first) continue;
        const int64_t a = append(&list, base[k], (i - first) * l->rank, base[k].cols);
        for (int64_t j = first; j < i; j++) {
            l->adapter[j].a = a + (j - first) * l->rank * base[k].cols;
            l->adapter[j].b = append(&list, base[k], l->adapter[j].rows, l->rank);
        }
    }
    *n = list.n;
    *elements = list.elements;
    return PLUMB_OK;
}

static int keep(struct plumb_arena *run, const void *from, size_t bytes, void *out)
{
    void *p;
    PLUMB_TRY(plumb_arena_push(run, bytes, &p));
    if (p) memcpy(p, from, bytes);
    memcpy(out, &p, sizeof p);
    return PLUMB_OK;
}

/* Tables: the base's list while counting is not in the model, so both are made in `room`. */
static int lay_out(struct plumb_model *m, const struct plumb_lora *lora, struct plumb_arena *room,
                   struct plumb_arena *run)
{
    struct plumb_adapters *d = &m->adapters;
    const int64_t capacity = plumb_model_param_capacity(&m->config);
    const int64_t most = 2 * lora->count + lora->whole_count;
    int64_t count, elements;
    void *base, *out;
    PLUMB_TRY(plumb_arena_push(room, (size_t)capacity * sizeof(struct plumb_param), &base));
    PLUMB_TRY(plumb_arena_push(room, (size_t)most * sizeof(struct plumb_param), &out));
    PLUMB_TRY(plumb_model_params(&m->config, base, capacity, &count, &elements));
    PLUMB_TRY(plumb_lora_params(lora, base, count, out, &d->flat.param_count, &d->flat.elements));
    for (int64_t i = 0, of = 0; i < lora->count; i++) {
        const struct plumb_adapter *a = &lora->adapter[i];
        const int64_t cols = ((const struct plumb_param *)base)[a->param].cols;
        of = i > 0 && a[-1].param == a->param ? of + 1 : 1;
        if (cols > d->widest) d->widest = cols;
        if (of * lora->rank > d->stacked) d->stacked = of * lora->rank;
    }
    PLUMB_TRY(
        keep(run, out, (size_t)d->flat.param_count * sizeof *d->flat.params, &d->flat.params));
    PLUMB_TRY(
        keep(run, lora->adapter, (size_t)lora->count * sizeof *lora->adapter, &d->lora.adapter));
    PLUMB_TRY(
        keep(run, lora->whole, (size_t)lora->whole_count * sizeof *lora->whole, &d->lora.whole));
    if (!d->flat.params) d->flat.param_count = 0; /* counting */
    return PLUMB_OK;
}

int plumb_adapters_init(struct plumb_model *m, const struct plumb_lora *lora,
                        enum plumb_model_kind kind, struct plumb_arena *run)
{
    const int64_t capacity = plumb_model_param_capacity(&m->config);
    struct plumb_flat *f = &m->adapters.flat;
    struct plumb_arena room;
    PLUMB_ASSERT(!m->grad.data);
    m->adapters = (struct plumb_adapters){ .lora = *lora };
    PLUMB_TRY(plumb_arena_init(&room, "table",
                               (size_t)(capacity + 2 * lora->count + lora->whole_count + 1) *
                                       sizeof(struct plumb_param) +
                                   PLUMB_ARENA_ALIGN));
    const int rc = lay_out(m, lora, &room, run);
    plumb_arena_release(&room);
    PLUMB_TRY(rc);
    PLUMB_TRY(plumb_arena_tensor(run, m->prec.compute, f->elements, &f->weights));
    f->master = f->grad = (struct plumb_tensor){ NULL, m->prec.master };
    if (m->prec.compute == m->prec.master)
        f->master = f->weights;
    else if (kind == PLUMB_MODEL_TRAINED)
        PLUMB_TRY(plumb_arena_tensor(run, m->prec.master, f->elements, &f->master));
    if (kind != PLUMB_MODEL_FROZEN)
        PLUMB_TRY(plumb_arena_tensor(run, m->prec.master, f->elements, &f->grad));
    return PLUMB_OK;
}

/* The trained copy of parameter `param`, NULL where it is not trained whole. */
static const struct plumb_param *trained_whole(const struct plumb_model *m, int64_t param)
{
    const struct plumb_adapters *d = &m->adapters;
    const struct plumb_param *p = &m->params[param];
    for (int64_t i = 0; i < d->lora.whole_count; i++)
        if (d->lora.whole[i] == param)
            for (int64_t k = 0; k < d->flat.param_count; k++)
                if (d->flat.params[k].role == p->role && d->flat.params[k].layer == p->layer)
                    return &d->flat.params[k];
    return NULL;
}

static const struct plumb_param *own_copy(const struct plumb_model *m, const struct plumb_param *p)
{
    return p && m->adapters.lora.whole_count > 0 ? trained_whole(m, p - m->params) : NULL;
}

struct plumb_tensor plumb_model_weight(const struct plumb_model *m, const struct plumb_param *p)
{
    const struct plumb_param *own = own_copy(m, p);
    return own ? plumb_model_slice(m->adapters.flat.weights, own)
               : plumb_model_slice(m->weights, p);
}

struct plumb_tensor plumb_model_grad(const struct plumb_model *m, const struct plumb_param *p)
{
    if (m->adapters.lora.rank == 0 || !p) return plumb_model_slice(m->grad, p);
    return plumb_model_slice(m->adapters.flat.grad, own_copy(m, p));
}

struct plumb_tensor plumb_model_exact_weight(const struct plumb_model *m,
                                             const struct plumb_param *p)
{
    const struct plumb_param *own = own_copy(m, p);
    return own ? plumb_model_slice(plumb_flat_exact(&m->adapters.flat), own)
               : plumb_model_slice(plumb_model_exact(m), p);
}

struct plumb_flat plumb_model_trained(const struct plumb_model *m)
{
    if (m->adapters.lora.rank > 0) return m->adapters.flat;
    return (struct plumb_flat){ m->params,  m->param_count, m->elements,
                                m->weights, m->master,      m->grad };
}

struct plumb_tensor plumb_flat_exact(const struct plumb_flat *f)
{
    return f->master.data ? f->master : f->weights;
}

const char *plumb_model_owner(const struct plumb_model *m, int64_t element, char *text, size_t n)
{
    const struct plumb_flat f = plumb_model_trained(m);
    int64_t k = f.param_count - 1;
    while (k > 0 && f.params[k].offset > element)
        k--;
    const struct plumb_param *p = &f.params[k];
    bool whole = m->adapters.lora.rank == 0;
    for (int64_t i = 0; i < m->adapters.lora.whole_count && !whole; i++) {
        const struct plumb_param *w = &m->params[m->adapters.lora.whole[i]];
        whole = w->role == p->role && w->layer == p->layer;
    }
    snprintf(text, n, "%s%s (layer %d) is not finite at element %lld",
             whole ? "" : "the adapter of ", plumb_role_name(p->role), (int)p->layer,
             (long long)(element - p->offset));
    return text;
}

/* Host copies are exact types: numbers are drawn in f64 and rounded once, to f32. */
static void draw(const struct plumb_model *m, uint64_t seed, struct plumb_tensor flat)
{
    const struct plumb_lora *l = &m->adapters.lora;
    for (int64_t i = 0; i < l->count; i++) {
        const struct plumb_adapter *a = &l->adapter[i];
        const int64_t cols = m->params[a->param].cols;
        const struct plumb_rng_key key = { seed, PLUMB_RNG_INIT,
                                           (UINT64_C(1) << 32) + (uint64_t)i };
        const double bound = 1 / sqrt((double)cols);
        for (int64_t k = 0; k < l->rank * cols; k++) {
            const double u = 2 * plumb_rng_uniform(&key, (uint64_t)k) - 1;
            plumb_tensor_set(flat, a->a + k, plumb_dtype_round(PLUMB_F32, bound * u));
        }
    }
}

int plumb_adapters_start(struct plumb_model *m, uint64_t seed)
{
    const struct plumb_adapters *d = &m->adapters;
    const struct plumb_tensor exact = plumb_flat_exact(&d->flat);
    struct plumb_stage stage = { 0 };
    int rc = plumb_stage_open(&stage, &m->dev, exact, d->flat.elements, false);
    if (!rc) {
        memset(stage.host.data, 0, (size_t)d->flat.elements * plumb_dtype_bytes(stage.host.dtype));
        draw(m, seed, stage.host);
        rc = plumb_stage_send(&stage);
    }
    plumb_stage_release(&stage);
    for (int64_t i = 0; i < d->lora.whole_count && !rc; i++) {
        const struct plumb_param *p = &m->params[d->lora.whole[i]];
        const struct plumb_cast c = { .struct_bytes = sizeof c,
                                      .count = p->rows * p->cols,
                                      .x = plumb_model_slice(m->weights, p),
                                      .y = plumb_model_exact_weight(m, p) };
        rc = plumb_cast(plumb_device_is_host(&m->dev) ? &plumb_cpu : &m->dev, &c);
    }
    return rc;
}

int plumb_adapters_copy(struct plumb_model *m, const struct plumb_model *from)
{
    const struct plumb_flat *to = &m->adapters.flat, *f = &from->adapters.flat;
    PLUMB_ASSERT(to->elements == f->elements && to->weights.dtype == f->weights.dtype);
    return plumb_device_copy(&m->dev, to->weights.data, f->weights.data,
                             (size_t)f->elements * plumb_dtype_bytes(f->weights.dtype));
}
