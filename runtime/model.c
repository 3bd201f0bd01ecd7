/* A model's flat buffers: layout, filling, lookup. */
#include "runtime/model.h"

#include <math.h>
#include <plumb/optim.h>
#include <plumb/rng.h>
#include <string.h>

#include "runtime/packed.h"
#include "runtime/rope_table.h"
#include "runtime/transfer.h"

struct plumb_storage plumb_storage_of(const struct plumb_device *dev, enum plumb_dtype compute)
{
    if (dev->kind == PLUMB_DEV_REF)
        return (struct plumb_storage){ PLUMB_F64, PLUMB_F64, PLUMB_F64 };
    return (struct plumb_storage){ compute, PLUMB_F32, PLUMB_F32 };
}

static int layout_params(struct plumb_model *m, const struct plumb_packed *packed,
                         struct plumb_arena *run)
{
    const int64_t capacity = plumb_model_param_capacity(&m->config);
    void *p;
    /* Sizes are needed even while counting, so the table itself lives in an arena of its own. */
    struct plumb_arena table;
    PLUMB_TRY(plumb_arena_init(&table, "table", (size_t)capacity * sizeof *m->params));
    int rc = plumb_arena_push(&table, (size_t)capacity * sizeof *m->params, &p);
    if (!rc) rc = plumb_model_params(&m->config, p, capacity, &m->param_count, &m->elements);
    if (!rc && packed) plumb_packed_leave_out(packed, p, m->param_count, &m->elements);
    if (!rc && packed) rc = plumb_packed_init(m, packed, p, run);
    void *kept = NULL;
    if (!rc) rc = plumb_arena_push(run, (size_t)m->param_count * sizeof *m->params, &kept);
    if (!rc && kept) memcpy(kept, p, (size_t)m->param_count * sizeof *m->params);
    m->params = kept;
    if (!kept) m->param_count = 0; /* counting: sizes only */
    plumb_arena_release(&table);
    return rc;
}

/* The tables are computed on the host, in f64. */
static int fill_rope(struct plumb_model *m, int64_t n)
{
    struct plumb_stage cos = { 0 }, sin = { 0 };
    int rc = plumb_stage_open(&cos, &m->dev, m->rope_cos, n, false);
    if (!rc) rc = plumb_stage_open(&sin, &m->dev, m->rope_sin, n, false);
    if (!rc) plumb_rope_table(&m->config, m->rope_rows, cos.host, sin.host);
    if (!rc) rc = plumb_stage_send(&cos);
    if (!rc) rc = plumb_stage_send(&sin);
    plumb_stage_release(&cos);
    plumb_stage_release(&sin);
    return rc;
}

static int init(struct plumb_model *m, const struct plumb_model_config *config,
                const struct plumb_packed *packed, const struct plumb_device *dev,
                enum plumb_dtype compute, enum plumb_model_kind kind, int64_t max_path,
                struct plumb_arena *run)
{
    *m = (struct plumb_model){ .config = *config,
                               .dev = *dev,
                               .batch_invariant = true,
                               .rope_rows = max_path };
    m->prec = plumb_storage_of(dev, compute);
    if (max_path > config->max_positions)
        return plumb_fail(
            PLUMB_EINVAL,
            "sequences of %lld tokens, but the model has %lld positions: lower --max_length",
            (long long)max_path, (long long)config->max_positions);
    PLUMB_TRY(layout_params(m, packed, run));
    PLUMB_TRY(plumb_arena_tensor(run, m->prec.compute, m->elements, &m->weights));
    m->master = (struct plumb_tensor){ NULL, m->prec.master };
    m->grad = (struct plumb_tensor){ NULL, m->prec.master };
    if (m->prec.compute == m->prec.master)
        m->master = m->weights;
    else if (kind == PLUMB_MODEL_TRAINED)
        PLUMB_TRY(plumb_arena_tensor(run, m->prec.master, m->elements, &m->master));
    if (kind != PLUMB_MODEL_FROZEN)
        PLUMB_TRY(plumb_arena_tensor(run, m->prec.master, m->elements, &m->grad));
    if (config->rope != PLUMB_ROPE_NONE) {
        const int64_t n = max_path * (config->rope_dims / 2);
        PLUMB_TRY(plumb_arena_tensor(run, m->prec.master, n, &m->rope_cos));
        PLUMB_TRY(plumb_arena_tensor(run, m->prec.master, n, &m->rope_sin));
        if (m->rope_cos.data) PLUMB_TRY(fill_rope(m, n));
    }
    return PLUMB_OK;
}

int plumb_model_init(struct plumb_model *m, const struct plumb_model_config *config,
                     const struct plumb_device *dev, enum plumb_dtype compute,
                     enum plumb_model_kind kind, int64_t max_path, struct plumb_arena *run)
{
    return init(m, config, NULL, dev, compute, kind, max_path, run);
}

int plumb_model_init_packed(struct plumb_model *m, const struct plumb_model_config *config,
                            const struct plumb_packed *k, const struct plumb_device *dev,
                            enum plumb_dtype compute, int64_t max_path, struct plumb_arena *run)
{
    if (!plumb_device_is_host(dev))
        return plumb_fail(PLUMB_ENOTSUP, "matrices in blocks are for the devices cpu and ref");
    return init(m, config, k, dev, compute, PLUMB_MODEL_FROZEN, max_path, run);
}

/* The native code converts between any two types, of `ref` too. */
static int cast(const struct plumb_device *dev, int64_t count, struct plumb_tensor from,
                struct plumb_tensor to)
{
    const struct plumb_cast c = { .struct_bytes = sizeof c, .count = count, .x = from, .y = to };
    return plumb_cast(plumb_device_is_host(dev) ? &plumb_cpu : dev, &c);
}

int plumb_model_fill(struct plumb_model *m, const void *flat, enum plumb_dtype from)
{
    const struct plumb_tensor source = { (void *)(uintptr_t)flat, from };
    struct plumb_stage to = { 0 };
    int rc = plumb_stage_open(&to, &m->dev, plumb_model_exact(m), m->elements, false);
    if (!rc) rc = cast(&plumb_cpu, m->elements, source, to.host);
    if (!rc) rc = plumb_stage_send(&to);
    plumb_stage_release(&to);
    return rc ? rc : plumb_model_refresh(m);
}

int plumb_model_copy(struct plumb_model *m, const struct plumb_model *from)
{
    PLUMB_ASSERT(m->elements == from->elements && m->weights.dtype == from->weights.dtype);
    PLUMB_ASSERT(!m->master.data || m->master.data == m->weights.data);
    return plumb_device_copy(&m->dev, m->weights.data, from->weights.data,
                             (size_t)m->elements * plumb_dtype_bytes(m->weights.dtype));
}

struct plumb_tensor plumb_model_exact(const struct plumb_model *m)
{
    return m->master.data ? m->master : m->weights;
}

int plumb_model_refresh(struct plumb_model *m)
{
    const struct plumb_flat *a = &m->adapters.flat;
    if (a->master.data && a->master.data != a->weights.data)
        PLUMB_TRY(cast(&m->dev, a->elements, a->master, a->weights));
    if (!m->master.data || m->master.data == m->weights.data) return PLUMB_OK;
    return cast(&m->dev, m->elements, m->master, m->weights);
}

static double initial(const struct plumb_model *m, const struct plumb_param *p,
                      const struct plumb_rng_key *key, int64_t i, double std)
{
    const double resid = std / sqrt(2.0 * (double)m->config.layers);
    switch (p->role) {
    case PLUMB_ROLE_NORM1:
    case PLUMB_ROLE_NORM2:
    case PLUMB_ROLE_NORMF:
    case PLUMB_ROLE_QNORM:
    case PLUMB_ROLE_KNORM: return 1 - m->config.norm_offset;
    case PLUMB_ROLE_O:
    case PLUMB_ROLE_DOWN: return resid * plumb_rng_normal(key, (uint64_t)i);
    default:
        return p->rows > 1 || p->role == PLUMB_ROLE_SCORE ? std * plumb_rng_normal(key, (uint64_t)i)
                                                          : 0;
    }
}

int plumb_model_random(struct plumb_model *m, uint64_t seed, double std,
                       struct plumb_arena *scratch)
{
    const struct plumb_mark mark = plumb_arena_mark(scratch);
    void *flat;
    PLUMB_TRY(plumb_arena_push(scratch, (size_t)m->elements * sizeof(double), &flat));
    double *w = flat;
    memset(w, 0, (size_t)m->elements * sizeof *w);
    for (int64_t k = 0; k < m->param_count; k++) {
        const struct plumb_param *p = &m->params[k];
        const struct plumb_rng_key key = { seed, PLUMB_RNG_INIT, (uint64_t)k };
        for (int64_t i = 0; i < p->rows * p->cols; i++)
            w[p->offset + i] = plumb_dtype_round(PLUMB_F32, initial(m, p, &key, i, std));
    }
    const int rc = plumb_model_fill(m, w, PLUMB_F64);
    plumb_arena_reset(scratch, mark);
    return rc;
}

int plumb_model_zero_grad(struct plumb_model *m)
{
    const struct plumb_flat f = plumb_model_trained(m);
    return plumb_device_zero(&m->dev, f.grad.data,
                             (size_t)f.elements * plumb_dtype_bytes(f.grad.dtype));
}

const struct plumb_param *plumb_model_find(const struct plumb_model *m, enum plumb_role role,
                                           int32_t layer)
{
    for (int64_t k = 0; k < m->param_count; k++)
        if (m->params[k].role == role && m->params[k].layer == layer) return &m->params[k];
    return NULL;
}

struct plumb_tensor plumb_model_slice(struct plumb_tensor flat, const struct plumb_param *p)
{
    if (!p || !flat.data || p->offset < 0) return (struct plumb_tensor){ NULL, flat.dtype };
    char *base = flat.data;
    return (struct plumb_tensor){ base + (size_t)p->offset * plumb_dtype_bytes(flat.dtype),
                                  flat.dtype };
}

const struct plumb_param *plumb_model_head(const struct plumb_model *m)
{
    return plumb_model_find(m, m->config.tied ? PLUMB_ROLE_EMBED : PLUMB_ROLE_HEAD, -1);
}

const struct plumb_param *plumb_model_head_bias(const struct plumb_model *m)
{
    return plumb_model_find(m, PLUMB_ROLE_HEAD_BIAS, -1);
}
