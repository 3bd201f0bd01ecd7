/* The builder behind kernels/op.h: turns an op's set-up into storage. */
#include "tools/op_case.h"

#include <math.h>
#include <plumb/device.h>
#include <plumb/rng.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/simd.h"

#define PLUMB_OP(name) extern const struct plumb_op plumb_op_##name[];
#include "gen/ops.def"

const struct plumb_op *plumb_op_at(int index)
{
    static const struct plumb_op *const families[] = {
#define PLUMB_OP(name) plumb_op_##name,
#include "gen/ops.def"
    };
    for (size_t f = 0; f < sizeof families / sizeof *families; f++)
        for (const struct plumb_op *op = families[f]; op->name; op++)
            if (index-- == 0) return op;
    return NULL;
}

static void *must(void *p)
{
    PLUMB_ASSERT(p != NULL);
    return p;
}

static size_t at_least_one(int64_t count) { return (size_t)(count > 0 ? count : 1); }

/* A device that cannot copy or hold a case is no test result: the harness stops, saying why. */
static void must_do(int rc)
{
    if (rc) fprintf(stderr, "%s\n", plumb_errmsg());
    PLUMB_ASSERT(rc == PLUMB_OK);
}

/* `bytes` of the device's own memory. */
static void *on_device(const struct plumb_device *dev, size_t bytes)
{
    void *p;
    must_do(plumb_device_alloc(dev, bytes, &p));
    return p;
}

static size_t item_bytes(const struct plumb_item *it)
{
    return (size_t)it->count * plumb_dtype_bytes(it->dtype);
}

/* The dtype that `role` has under a profile, before the device is asked. */
static enum plumb_dtype profile_dtype(enum plumb_case_role role, enum plumb_dtype act)
{
    return role == PLUMB_CASE_ACT || role == PLUMB_CASE_WEIGHT ? act : PLUMB_F32;
}

static enum plumb_dtype grad_dtype(enum plumb_case_role role, enum plumb_dtype act)
{
    return role == PLUMB_CASE_ACT ? act : PLUMB_F32;
}

static struct plumb_item *add(struct plumb_case_mem *m, struct plumb_tensor *t,
                              enum plumb_item_kind kind, enum plumb_case_role role,
                              enum plumb_dtype dtype, const char *name, int64_t count)
{
    if (m->items == m->item_capacity) {
        m->item_capacity = m->item_capacity ? 2 * m->item_capacity : 16;
        m->item = must(realloc(m->item, (size_t)m->item_capacity * sizeof *m->item));
    }
    struct plumb_item *it = &m->item[m->items++];
    *it = (struct plumb_item){ .kind = kind, .role = role, .count = count, .of = -1, .alias = -1 };
    const bool integer = dtype == PLUMB_I32 || dtype == PLUMB_I64;
    it->dtype = m->dev.kind == PLUMB_DEV_REF && !integer ? PLUMB_F64 : dtype;
    strncpy(it->name, name, sizeof it->name - 1);
    const size_t bytes = at_least_one(count) * plumb_dtype_bytes(it->dtype);
    it->host = must(malloc(bytes));
    it->data = plumb_device_is_host(&m->dev) ? it->host : on_device(&m->dev, bytes);
    if (t) {
        it->tensor_offset = (size_t)((char *)t - m->args);
        *t = (struct plumb_tensor){ it->data, it->dtype };
    }
    return it;
}

/* Values in [lo, hi) rounded to `dtype`, keyed by the name: the same on every device. */
static double *random_values(const char *name, int64_t count, double lo, double hi,
                             enum plumb_dtype dtype)
{
    uint64_t h = 1469598103934665603u;
    for (const char *p = name; *p; p++)
        h = (h ^ (unsigned char)*p) * 1099511628211u;
    const struct plumb_rng_key key = { .seed = h, .purpose = PLUMB_RNG_TEST };
    double *v = must(malloc(at_least_one(count) * sizeof *v));
    for (int64_t i = 0; i < count; i++)
        v[i] = plumb_dtype_round(dtype, lo + (hi - lo) * plumb_rng_uniform(&key, (uint64_t)i));
    return v;
}

static void gradient_of(struct plumb_case_mem *m, int input, struct plumb_tensor *grad)
{
    const struct plumb_item in = m->item[input];
    char name[sizeof in.name + 4];
    snprintf(name, sizeof name, "d%s", in.name);
    struct plumb_item *g = add(m, grad, PLUMB_ITEM_GRAD, in.role, grad_dtype(in.role, m->act), name,
                               in.count);
    g->of = input;
    if (in.role == PLUMB_CASE_WEIGHT || in.role == PLUMB_CASE_PARAM)
        g->initial = random_values(name, in.count, -1, 1, PLUMB_F32);
}

void plumb_case_in(struct plumb_case_mem *m, struct plumb_tensor *t, struct plumb_tensor *grad,
                   enum plumb_case_role role, const char *name, int64_t count, double lo, double hi)
{
    const enum plumb_dtype d = profile_dtype(role, m->act);
    const int at = m->items;
    struct plumb_item *it = add(m, t, PLUMB_ITEM_IN, role, d, name, count);
    it->initial = random_values(name, count, lo, hi, d);
    if (grad) gradient_of(m, at, grad);
}

void plumb_case_in_values(struct plumb_case_mem *m, struct plumb_tensor *t,
                          struct plumb_tensor *grad, enum plumb_case_role role, const char *name,
                          int64_t count, const double *values)
{
    const enum plumb_dtype d = profile_dtype(role, m->act);
    const int at = m->items;
    struct plumb_item *it = add(m, t, PLUMB_ITEM_IN, role, d, name, count);
    it->initial = must(malloc(at_least_one(count) * sizeof *it->initial));
    for (int64_t i = 0; i < count; i++)
        it->initial[i] = plumb_dtype_round(d, values[i]);
    if (grad) gradient_of(m, at, grad);
}

void plumb_case_out(struct plumb_case_mem *m, struct plumb_tensor *t, struct plumb_tensor *upstream,
                    enum plumb_case_role role, const char *name, int64_t count)
{
    const int at = m->items;
    add(m, t, PLUMB_ITEM_OUT, role, profile_dtype(role, m->act), name, count);
    if (!upstream) return;
    const enum plumb_dtype d = grad_dtype(role, m->act);
    char up[56];
    snprintf(up, sizeof up, "up_%s", name);
    struct plumb_item *u = add(m, upstream, PLUMB_ITEM_UPSTREAM, role, d, up, count);
    u->of = at;
    u->initial = random_values(up, count, -1, 1, d);
}

void plumb_case_inout(struct plumb_case_mem *m, struct plumb_tensor *t, enum plumb_case_role role,
                      const char *name, int64_t count, double lo, double hi)
{
    const enum plumb_dtype d = profile_dtype(role, m->act);
    struct plumb_item *it = add(m, t, PLUMB_ITEM_INOUT, role, d, name, count);
    it->initial = random_values(name, count, lo, hi, d);
}

static int find(const struct plumb_case_mem *m, const struct plumb_tensor *t)
{
    const size_t offset = (size_t)((const char *)t - m->args);
    for (int i = 0; i < m->items; i++)
        if (m->item[i].kind != PLUMB_ITEM_INDEX_OUT && m->item[i].tensor_offset == offset) return i;
    PLUMB_ASSERT(!"the tensor was declared before");
    return -1;
}

void plumb_case_objective(struct plumb_case_mem *m, const struct plumb_tensor *out, double weight)
{
    m->item[find(m, out)].objective = weight;
}

void plumb_case_alias(struct plumb_case_mem *m, struct plumb_tensor *t,
                      const struct plumb_tensor *other)
{
    struct plumb_item *a = &m->item[find(m, t)];
    const int b = find(m, other);
    PLUMB_ASSERT(a->count == m->item[b].count && a->dtype == m->item[b].dtype);
    if (a->data != a->host) plumb_device_free(&m->dev, a->data);
    free(a->host);
    a->alias = b;
    a->host = m->item[b].host;
    t->data = a->data = m->item[b].data;
}

static void *block(struct plumb_case_mem *m, size_t bytes, bool on_device)
{
    const size_t blocks = (size_t)m->block_count + 1;
    m->blocks = must(realloc(m->blocks, blocks * sizeof *m->blocks));
    void *p = must(calloc(bytes ? bytes : 1, 1));
    m->blocks[m->block_count++] = (struct plumb_case_block){ p, NULL, bytes, on_device };
    return p;
}

void *plumb_case_bytes(struct plumb_case_mem *m, size_t bytes) { return block(m, bytes, false); }

void *plumb_case_device_bytes(struct plumb_case_mem *m, size_t bytes)
{
    return block(m, bytes, true);
}

int32_t *plumb_case_index(struct plumb_case_mem *m, int64_t count)
{
    return block(m, (size_t)count * sizeof(int32_t), true);
}

int32_t *plumb_case_index_out(struct plumb_case_mem *m, const char *name, int64_t count)
{
    return add(m, NULL, PLUMB_ITEM_INDEX_OUT, PLUMB_CASE_STAT, PLUMB_I32, name, count)->data;
}

double *plumb_case_f64_out(struct plumb_case_mem *m, const char *name, int64_t count)
{
    return add(m, NULL, PLUMB_ITEM_INDEX_OUT, PLUMB_CASE_STAT, PLUMB_F64, name, count)->data;
}

int64_t *plumb_case_i64_out(struct plumb_case_mem *m, const char *name, int64_t count)
{
    return add(m, NULL, PLUMB_ITEM_INDEX_OUT, PLUMB_CASE_STAT, PLUMB_I64, name, count)->data;
}

uint64_t plumb_case_below(struct plumb_case_mem *m, uint64_t n)
{
    const struct plumb_rng_key key = { .seed = 7, .purpose = PLUMB_RNG_TEST };
    return plumb_rng_below(&key, m->draws++, n);
}

double plumb_item_get(const struct plumb_item *it, int64_t i)
{
    switch (it->dtype) {
    case PLUMB_F64: return ((const double *)it->host)[i];
    case PLUMB_F32: return (double)((const float *)it->host)[i];
    case PLUMB_BF16: return (double)plumb_bf16_to_f32(((const uint16_t *)it->host)[i]);
    case PLUMB_I64: return (double)((const int64_t *)it->host)[i];
    default: return ((const int32_t *)it->host)[i];
    }
}

void plumb_item_set(struct plumb_item *it, int64_t i, double v)
{
    switch (it->dtype) {
    case PLUMB_F64: ((double *)it->host)[i] = v; break;
    case PLUMB_F32: ((float *)it->host)[i] = (float)v; break;
    case PLUMB_BF16: ((uint16_t *)it->host)[i] = plumb_f32_to_bf16((float)v); break;
    case PLUMB_I64: ((int64_t *)it->host)[i] = (int64_t)v; break;
    default: ((int32_t *)it->host)[i] = (int32_t)v; break;
    }
}

void plumb_case_reset(struct plumb_case_mem *m)
{
    for (int k = 0; k < m->items; k++) {
        struct plumb_item *it = &m->item[k];
        if (it->alias >= 0) continue;
        const bool integer = it->dtype == PLUMB_I32 || it->dtype == PLUMB_I64;
        const double poison = integer ? -77 : (double)NAN;
        for (int64_t i = 0; i < it->count; i++)
            plumb_item_set(it, i, it->initial ? it->initial[i] : poison);
        must_do(plumb_device_upload(&m->dev, it->data, it->host, item_bytes(it)));
    }
    must_do(plumb_device_sync(&m->dev));
}

/* Set-up filled arrays of the host: the op gets copies in its device's memory. Pointers to them in
 * the argument struct are found by value. */
static void move_blocks(struct plumb_case_mem *m)
{
    for (int k = 0; k < m->block_count; k++) {
        struct plumb_case_block *b = &m->blocks[k];
        if (!b->on_device || plumb_device_is_host(&m->dev)) continue;
        b->device = on_device(&m->dev, b->bytes ? b->bytes : 1);
        must_do(plumb_device_upload(&m->dev, b->device, b->host, b->bytes));
        const uintptr_t from = (uintptr_t)b->host, end = from + (b->bytes ? b->bytes : 1);
        for (size_t at = 0; at + sizeof from <= m->op->args_bytes; at += sizeof from) {
            uintptr_t word;
            memcpy(&word, m->args + at, sizeof word);
            if (word < from || word >= end) continue;
            word = (uintptr_t)b->device + (word - from);
            memcpy(m->args + at, &word, sizeof word);
        }
    }
    must_do(plumb_device_sync(&m->dev));
}

void plumb_case_begin(struct plumb_case_mem *m, const struct plumb_op *op,
                      const struct plumb_case *c, const struct plumb_device *dev,
                      enum plumb_dtype act)
{
    *m = (struct plumb_case_mem){ .op = op, .c = c, .dev = *dev, .act = act };
    m->args = must(calloc(1, op->args_bytes));
    op->setup(c, m, m->args);
    move_blocks(m);
    if (op->workspace) {
        const size_t n = op->workspace(&m->dev, m->args);
        if (plumb_device_is_host(&m->dev)) {
            m->work = must(malloc(n ? n : 1));
            memset(m->work, 0xff, n);
        } else
            m->work = on_device(&m->dev, n ? n : 1);
        struct plumb_tensor *work = (struct plumb_tensor *)(void *)(m->args + op->work_offset);
        work->data = m->work;
        work->dtype = dev->kind == PLUMB_DEV_REF ? PLUMB_F64 : PLUMB_F32;
    }
    plumb_case_reset(m);
}

void plumb_case_end(struct plumb_case_mem *m)
{
    const bool own = m->args && !plumb_device_is_host(&m->dev);
    for (int i = 0; i < m->items; i++) {
        free(m->item[i].initial);
        if (m->item[i].alias >= 0) continue;
        if (own) plumb_device_free(&m->dev, m->item[i].data);
        free(m->item[i].host);
    }
    for (int i = 0; i < m->block_count; i++) {
        if (own) plumb_device_free(&m->dev, m->blocks[i].device);
        free(m->blocks[i].host);
    }
    if (own)
        plumb_device_free(&m->dev, m->work);
    else
        free(m->work);
    free(m->item);
    free(m->blocks);
    free(m->args);
    *m = (struct plumb_case_mem){ 0 };
}

int plumb_case_fetch(struct plumb_case_mem *m)
{
    if (plumb_device_is_host(&m->dev)) return PLUMB_OK;
    for (int k = 0; k < m->items; k++) {
        const struct plumb_item *it = &m->item[k];
        PLUMB_TRY(plumb_device_download_later(&m->dev, it->host, it->data, item_bytes(it)));
    }
    return plumb_device_sync(&m->dev);
}

int plumb_case_fwd(struct plumb_case_mem *m, enum plumb_dtype round)
{
    if (m->dev.kind != PLUMB_DEV_REF || round == PLUMB_F64) return m->op->fwd(&m->dev, m->args);
    m->op->fwd_ref(m->args, round);
    return PLUMB_OK;
}

int plumb_case_bwd(struct plumb_case_mem *m, enum plumb_dtype round)
{
    if (!m->op->bwd) return PLUMB_OK;
    if (m->dev.kind != PLUMB_DEV_REF || round == PLUMB_F64) return m->op->bwd(&m->dev, m->args);
    m->op->bwd_ref(m->args, round);
    return PLUMB_OK;
}
