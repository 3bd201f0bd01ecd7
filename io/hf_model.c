/* Opening a model folder and reading its weights. */
#include "io/hf_model.h"

#include <math.h>
#include <plumb/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "io/gguf_model.h"
#include "io/numbers.h"
#include "io/peft.h"
#include "io/safetensors.h"

#define SLAB 65536   /* numbers read at a time, at least one row */
#define MOST_ROWS 64 /* of a transposed slab */

static int alloc_failed(const char *what)
{
    return plumb_fail(PLUMB_EMEM, "could not allocate the list of %s", what);
}

/* Lists parameters and tensors of the config. */
static int list(struct plumb_hf_model *m)
{
    const int64_t capacity = plumb_model_param_capacity(&m->config.model);
    m->params = malloc((size_t)capacity * sizeof *m->params);
    if (!m->params) return alloc_failed("parameters");
    PLUMB_TRY(
        plumb_model_params(&m->config.model, m->params, capacity, &m->param_count, &m->elements));
    m->tensors = malloc((size_t)m->param_count * 3 * sizeof *m->tensors);
    m->source = malloc((size_t)m->param_count * 3 * sizeof *m->source);
    if (!m->tensors || !m->source) return alloc_failed("tensors");
    return plumb_hf_tensors(m->config.family, &m->config.model, m->params, m->param_count,
                            m->tensors, &m->tensor_count);
}

/* The file's tensor under one of the names in use: as written today, by an alias, without the
 * prefix of the base model. */
static int64_t find_source(const struct plumb_hf_model *m, const struct plumb_hf_tensor *t)
{
    const char *prefix = m->config.family->tensors;
    const size_t n = strlen(prefix);
    int64_t i = plumb_weights_find(&m->weights, t->name);
    if (i < 0 && t->alias) i = plumb_weights_find(&m->weights, t->alias);
    if (i < 0 && strncmp(t->name, prefix, n) == 0) i = plumb_weights_find(&m->weights, t->name + n);
    return i;
}

/* Tensor k as its source keeps it: one that GGUF has turned stands as the engine keeps it. */
static struct plumb_hf_tensor as_stored(const struct plumb_hf_model *m, int64_t k)
{
    struct plumb_hf_tensor t = m->tensors[k];
    if (!t.transposed || !m->weights.tensor[m->source[k]].turned) return t;
    t.transposed = false;
    t.shape[0] = t.rows;
    t.shape[1] = t.unit;
    return t;
}

static int match(struct plumb_hf_model *m, int64_t k)
{
    const struct plumb_hf_tensor *t = &m->tensors[k];
    const int64_t i = m->source[k] = find_source(m, t);
    if (i < 0 && m->params[t->param].role == PLUMB_ROLE_SCORE) {
        m->score_missing = true;
        return PLUMB_OK;
    }
    if (i < 0)
        return plumb_fail(PLUMB_EFORMAT, "\"%s\": tensor \"%s\" is missing", m->weights.origin,
                          t->name);
    const struct plumb_weight *w = &m->weights.tensor[i];
    if (strchr("IU", w->dtype[0]) && strchr("0123456789", w->dtype[1]))
        return plumb_fail(PLUMB_ENOTSUP,
                          "\"%s\": tensor \"%s\" holds whole numbers (%s): a model's weights are "
                          "floating-point",
                          m->weights.origin, w->name, w->dtype);
    const struct plumb_hf_tensor wanted = as_stored(m, k);
    bool same = w->rank == t->rank;
    for (int d = 0; d < t->rank && same; d++)
        same = w->shape[d] == wanted.shape[d];
    if (same) return PLUMB_OK;
    char has[128], wants[128];
    return plumb_fail(PLUMB_EFORMAT, "\"%s\": tensor \"%s\" has shape %s, config.json wants %s",
                      m->weights.origin, w->name,
                      plumb_shape_text(w->shape, w->rank, has, sizeof has),
                      plumb_shape_text(wanted.shape, t->rank, wants, sizeof wants));
}

/* With tied weights the file may hold the head as well, but not another one. */
static int check_tied(const struct plumb_hf_model *m, int64_t head)
{
    const int64_t embed = m->source[0];
    const struct plumb_weight *a = &m->weights.tensor[head], *b = &m->weights.tensor[embed];
    double x[512], y[512];
    bool same = a->count == b->count;
    for (int64_t at = 0; at < a->count && same; at += 512) {
        const int64_t n = a->count - at < 512 ? a->count - at : 512;
        PLUMB_TRY(m->weights.read(&m->weights, head, at, n, x));
        PLUMB_TRY(m->weights.read(&m->weights, embed, at, n, y));
        for (int64_t i = 0; i < n; i++)
            same = same && x[i] == y[i];
    }
    if (same) return PLUMB_OK;
    return plumb_fail(PLUMB_EFORMAT,
                      "\"%s\": config.json ties the head to the embedding, but \"%s\" "
                      "differs from \"%s\"",
                      m->weights.origin, a->name, b->name);
}

/* A tensor named after one in use, "q_proj.weight_scale_inv" or "q_proj.weight.absmax", says what
 * the numbers of that one are to be multiplied by: without it they mean nothing. */
static int check_companion(const struct plumb_hf_model *m, const bool *taken, int64_t i)
{
    const char *name = m->weights.tensor[i].name;
    char other[256];
    for (const char *end = strpbrk(name, "._"); end; end = strpbrk(end + 1, "._")) {
        const size_t n = (size_t)(end - name);
        if (n >= sizeof other) break;
        memcpy(other, name, n);
        other[n] = 0;
        const int64_t k = plumb_weights_find(&m->weights, other);
        if (k >= 0 && taken[k])
            return plumb_fail(PLUMB_ENOTSUP,
                              "\"%s\": tensor \"%s\" scales \"%s\", a quantised weight of a kind "
                              "that is not supported: dequantise the model first",
                              m->weights.origin, name, other);
    }
    return PLUMB_OK;
}

/* Warns of tensors without a use. */
static int check_unused(const struct plumb_hf_model *m)
{
    char names[512] = "";
    size_t used = 0;
    int64_t count = 0;
    bool *taken = calloc((size_t)m->weights.count + 1, sizeof *taken);
    if (!taken) return alloc_failed("used tensors");
    for (int64_t k = 0; k < m->tensor_count; k++)
        if (m->source[k] >= 0) taken[m->source[k]] = true;
    int rc = PLUMB_OK;
    for (int64_t i = 0; i < m->weights.count; i++) {
        const char *name = m->weights.tensor[i].name;
        if (taken[i] || plumb_hf_is_buffer(name)) continue;
        const bool head = strcmp(name, "lm_head.weight") == 0 ||
                          strcmp(name, "embed_out.weight") == 0;
        if (head && m->config.model.num_labels > 0) continue;
        if (head && m->config.model.tied) {
            PLUMB_TRYG(check_tied(m, i));
            continue;
        }
        PLUMB_TRYG(check_companion(m, taken, i));
        const int n = used < sizeof names ? snprintf(names + used, sizeof names - used, "%s\"%s\"",
                                                     count ? ", " : "", name)
                                          : 0;
        used += n > 0 ? (size_t)n : 0;
        count++;
    }
    if (count)
        plumb_log(PLUMB_LOG_WARN, "\"%s\": %lld tensors are not used: %s", m->weights.origin,
                  (long long)count, names);
out:
    free(taken);
    return rc;
}

int plumb_hf_model_from(struct plumb_hf_model *m, struct plumb_hf_config *config,
                        struct plumb_weights *weights, int64_t num_labels)
{
    *m = (struct plumb_hf_model){ .config = *config, .weights = *weights };
    *config = (struct plumb_hf_config){ 0 };
    *weights = (struct plumb_weights){ 0 };
    int rc = PLUMB_OK;
    if (num_labels > 0) m->config.model.num_labels = num_labels;
    PLUMB_TRYG(list(m));
    for (int64_t k = 0; k < m->tensor_count; k++)
        PLUMB_TRYG(match(m, k));
    PLUMB_TRYG(check_unused(m));
out:
    if (rc) plumb_hf_model_release(m);
    return rc;
}

int plumb_hf_model_plan(struct plumb_hf_model *m, struct plumb_hf_config *config)
{
    *m = (struct plumb_hf_model){ .config = *config };
    *config = (struct plumb_hf_config){ 0 };
    const int rc = list(m);
    if (rc) plumb_hf_model_release(m);
    return rc;
}

/* A base model with the adapters of folder `dir` added. */
static int open_adapted(struct plumb_hf_model *m, const char *dir, int64_t num_labels)
{
    char base[4096];
    int64_t labels;
    PLUMB_TRY(plumb_peft_base(dir, base, sizeof base, &labels));
    PLUMB_TRY(plumb_hf_model_open(m, base, labels > 0 ? labels : num_labels));
    const int rc = plumb_peft_merge(m, dir, 1);
    if (rc) plumb_hf_model_release(m);
    return rc;
}

int plumb_hf_model_open(struct plumb_hf_model *m, const char *dir, int64_t num_labels)
{
    struct plumb_hf_config config = { 0 };
    struct plumb_weights weights = { 0 };
    *m = (struct plumb_hf_model){ 0 };
    int rc = PLUMB_OK;
    if (plumb_peft_is(dir)) return open_adapted(m, dir, num_labels);
    if (plumb_gguf_is(dir)) {
        PLUMB_TRY(plumb_gguf_model(dir, &config, &weights));
    } else {
        PLUMB_TRY(plumb_hf_config_read(&config, dir));
        PLUMB_TRYG(plumb_safetensors_open(&weights, dir));
    }
    PLUMB_TRYG(plumb_hf_model_from(m, &config, &weights, num_labels));
    m->dir = strdup(dir);
    if (!m->dir) rc = alloc_failed("files");
out:
    if (rc) plumb_hf_model_release(m);
    plumb_weights_release(&weights);
    plumb_hf_config_release(&config);
    return rc;
}

void plumb_hf_model_release(struct plumb_hf_model *m)
{
    plumb_hf_config_release(&m->config);
    plumb_weights_release(&m->weights);
    free(m->params);
    free(m->tensors);
    free(m->source);
    free(m->dir);
    *m = (struct plumb_hf_model){ 0 };
}

const struct plumb_hf_tensor *plumb_hf_model_find(const struct plumb_hf_model *m, const char *name)
{
    for (int64_t k = 0; k < m->tensor_count; k++)
        if (strcmp(m->tensors[k].name, name) == 0) return &m->tensors[k];
    return NULL;
}

/* Numbers of rows [r0, r0 + n) of a tensor, `columns` each, in file order. */
struct slab {
    const double *x;
    int64_t r0, n, columns;
};

static int check_finite(const struct plumb_hf_model *m, const struct plumb_hf_tensor *t,
                        const struct slab *s)
{
    int64_t i = 0;
    while (i < s->n * s->columns && isfinite(s->x[i]))
        i++;
    if (i == s->n * s->columns) return PLUMB_OK;
    char place[128];
    const int64_t at[2] = { s->r0 + i / s->columns, i % s->columns };
    return plumb_fail(PLUMB_ENUM, "\"%s\": tensor \"%s\" holds %s at %s", m->weights.origin,
                      t->name, isnan(s->x[i]) ? "NaN" : "infinity",
                      plumb_shape_text(at, t->rank, place, sizeof place));
}

static void store(const struct plumb_hf_tensor *t, const struct slab *s, enum plumb_dtype dtype,
                  char *flat)
{
    const int64_t bytes = (int64_t)plumb_dtype_bytes(dtype);
    if (!t->transposed) {
        for (int64_t r = 0; r < s->n; r++)
            plumb_numbers_encode(dtype, s->x + r * s->columns, s->columns,
                                 flat + bytes * plumb_hf_place(t, s->r0 + r, 0));
        return;
    }
    double column[MOST_ROWS];
    for (int64_t c = 0; c < s->columns; c++) {
        for (int64_t r = 0; r < s->n; r++)
            column[r] = s->x[r * s->columns + c];
        plumb_numbers_encode(dtype, column, s->n, flat + bytes * plumb_hf_place(t, s->r0, c));
    }
}

static int read_tensor(const struct plumb_hf_model *m, int64_t k, enum plumb_dtype dtype,
                       char *flat)
{
    const struct plumb_hf_tensor stored = as_stored(m, k), *t = &stored;
    const int64_t columns = t->rank == 2 ? t->shape[1] : 1;
    int64_t most = SLAB / columns > 0 ? SLAB / columns : 1;
    if (t->transposed && most > MOST_ROWS) most = MOST_ROWS;
    double *x = malloc((size_t)(most * columns) * sizeof *x);
    if (!x) return plumb_fail(PLUMB_EMEM, "could not allocate a buffer to read \"%s\"", t->name);
    int rc = PLUMB_OK;
    for (int64_t r = 0; r < t->shape[0]; r += most) {
        const struct slab s = { x, r, t->shape[0] - r < most ? t->shape[0] - r : most, columns };
        PLUMB_TRYG(m->weights.read(&m->weights, m->source[k], r * columns, s.n * columns, x));
        PLUMB_TRYG(check_finite(m, t, &s));
        store(t, &s, dtype, flat);
    }
    plumb_map_forget(m->weights.tensor[m->source[k]].data, m->weights.tensor[m->source[k]].bytes);
out:
    free(x);
    return rc;
}

int plumb_hf_model_read(const struct plumb_hf_model *m, enum plumb_dtype dtype, void *flat,
                        bool new_score)
{
    PLUMB_ASSERT(dtype <= PLUMB_F16);
    if (m->score_missing && !new_score)
        return plumb_fail(PLUMB_EFORMAT, "\"%s\": tensor \"score.weight\" is missing",
                          m->weights.origin);
    const size_t bytes = plumb_dtype_bytes(dtype);
    for (int64_t i = 0; i < m->param_count; i++) { /* the padding after each, and a new head */
        const struct plumb_param *p = &m->params[i];
        const int64_t n = p->rows * p->cols, end = p->offset + (n + 31) / 32 * 32;
        const bool fresh = p->role == PLUMB_ROLE_SCORE && m->score_missing;
        if (p->offset < 0) continue; /* it stays in the file's blocks */
        const int64_t from = fresh ? p->offset : p->offset + n;
        memset((char *)flat + (size_t)from * bytes, 0, (size_t)(end - from) * bytes);
    }
    for (int64_t k = 0; k < m->tensor_count; k++)
        if (m->source[k] >= 0 && m->params[m->tensors[k].param].offset >= 0)
            PLUMB_TRY(read_tensor(m, k, dtype, flat));
    return PLUMB_OK;
}
