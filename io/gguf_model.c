/* GGUF's tensors as weights under Hugging Face's names and layouts. */
#include "io/gguf_model.h"

#include <stdlib.h>
#include <string.h>

#include "io/gguf_arch.h"
#include "io/gguf_cursor.h"

struct item {
    char name[128]; /* Hugging Face's */
    const struct plumb_gguf_tensor *tensor;
    enum plumb_gguf_order order;
};

struct model {
    struct plumb_gguf gguf;
    struct plumb_model_config config;
    struct item *item; /* (count) in the order of `weight` */
    struct plumb_weight *weight;
    int64_t count;
};

bool plumb_gguf_is(const char *path)
{
    const size_t n = strlen(path);
    return n > 5 && strcmp(path + n - 5, ".gguf") == 0;
}

/* "blk.3.attn_q.weight" -> "model.layers.3.self_attn.q_proj.weight". */
static int rename_tensor(const struct model *m, const struct plumb_hf_family *family,
                         const struct plumb_gguf_tensor *t, struct item *out)
{
    const struct plumb_gguf_row *row;
    int64_t layer;
    *out = (struct item){ .tensor = t };
    if (!plumb_gguf_name_to_hf(family, t->name, out->name, sizeof out->name, &row, &layer) ||
        layer >= m->config.layers)
        return plumb_fail(PLUMB_ENOTSUP, "\"%s\": no use is known for the tensor \"%s\"",
                          m->gguf.path, t->name);
    out->order = plumb_gguf_order(row, t->name);
    if (!plumb_gguf_rows_fit(&m->config, out->order, t->shape[0]))
        return plumb_fail(
            PLUMB_EFORMAT, "\"%s\": the %lld rows of tensor \"%s\" are not those of heads of %lld",
            m->gguf.path, (long long)t->shape[0], t->name, (long long)m->config.head_size);
    return PLUMB_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct item *)a)->name, ((const struct item *)b)->name);
}

static int list_tensors(struct model *m, const struct plumb_hf_family *family)
{
    const struct plumb_gguf *g = &m->gguf;
    m->item = calloc((size_t)g->tensors + 1, sizeof *m->item);
    m->weight = calloc((size_t)g->tensors + 1, sizeof *m->weight);
    if (!m->item || !m->weight)
        return plumb_fail(PLUMB_EMEM, "could not allocate a table of %lld tensors",
                          (long long)g->tensors);
    for (int64_t i = 0; i < g->tensors; i++)
        if (strcmp(g->tensor[i].name, PLUMB_GGUF_ROPE_FREQS)) /* is in the config */
            PLUMB_TRY(rename_tensor(m, family, &g->tensor[i], &m->item[m->count++]));
    qsort(m->item, (size_t)m->count, sizeof *m->item, by_name);
    for (int64_t i = 0; i < m->count; i++) {
        const struct plumb_gguf_tensor *t = m->item[i].tensor;
        struct plumb_weight *w = &m->weight[i];
        if (i && strcmp(m->item[i - 1].name, m->item[i].name) == 0)
            return plumb_fail(PLUMB_EFORMAT, "\"%s\": tensor \"%s\" stands twice", g->path,
                              t->name);
        *w = (struct plumb_weight){ .name = m->item[i].name,
                                    .dtype = t->type,
                                    .rank = t->rank,
                                    .count = t->count,
                                    .data = t->data,
                                    .bytes = t->bytes,
                                    .quant = t->format->quant,
                                    .turned = m->item[i].order == PLUMB_GGUF_TURNED };
        memcpy(w->shape, t->shape, sizeof t->shape);
    }
    return PLUMB_OK;
}

static int read_numbers(const struct plumb_weights *w, int64_t index, int64_t first, int64_t n,
                        double *out)
{
    const struct model *m = w->self;
    const struct item *it = &m->item[index];
    const struct plumb_gguf_tensor *t = it->tensor;
    if (it->order == PLUMB_GGUF_SAME || it->order == PLUMB_GGUF_TURNED) {
        plumb_gguf_read(t, first, n, out);
        return PLUMB_OK;
    }
    if (it->order == PLUMB_GGUF_ONE_MORE) {
        plumb_gguf_read(t, first, n, out);
        for (int64_t i = 0; i < n; i++)
            out[i] -= 1;
        return PLUMB_OK;
    }
    const int64_t row = t->count / t->shape[0];
    while (n > 0) {
        const int64_t at = first % row, take = row - at < n ? row - at : n;
        plumb_gguf_read(t, plumb_gguf_row_of(&m->config, it->order, first / row) * row + at, take,
                        out);
        first += take, out += take, n -= take;
    }
    return PLUMB_OK;
}

static int read_rows(const struct plumb_weights *w, int64_t index, int64_t first, int64_t n,
                     void *out)
{
    const struct model *m = w->self;
    const struct item *it = &m->item[index];
    const struct plumb_gguf_tensor *t = it->tensor;
    const size_t row = t->bytes / (size_t)t->shape[0];
    PLUMB_ASSERT(first >= 0 && n >= 0 && first <= t->shape[0] - n &&
                 it->order != PLUMB_GGUF_ONE_MORE);
    for (int64_t r = 0; r < n; r++)
        memcpy((char *)out + (size_t)r * row,
               (const char *)t->data +
                   (size_t)plumb_gguf_row_of(&m->config, it->order, first + r) * row,
               row);
    return PLUMB_OK;
}

static void release(struct plumb_weights *w)
{
    struct model *m = w->self;
    plumb_gguf_release(&m->gguf);
    free(m->item);
    free(m->weight);
    free(m);
}

int plumb_gguf_model(const char *path, struct plumb_hf_config *config,
                     struct plumb_weights *weights)
{
    int rc = PLUMB_OK;
    *config = (struct plumb_hf_config){ 0 };
    *weights = (struct plumb_weights){ 0 };
    struct model *m = calloc(1, sizeof *m);
    if (!m) return plumb_fail(PLUMB_EMEM, "could not allocate the table of \"%s\"", path);
    *weights = (struct plumb_weights){ .read = read_numbers,
                                       .read_rows = read_rows,
                                       .release = release,
                                       .self = m };
    PLUMB_TRYG(plumb_gguf_open(&m->gguf, path));
    PLUMB_TRYG(plumb_gguf_config(&m->gguf, config));
    m->config = config->model;
    PLUMB_TRYG(list_tensors(m, config->family));
    weights->origin = m->gguf.path;
    weights->tensor = m->weight;
    weights->count = m->count;
out:
    if (rc) plumb_weights_release(weights);
    if (rc) plumb_hf_config_release(config);
    return rc;
}
