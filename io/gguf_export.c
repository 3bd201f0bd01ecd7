/* A model as a GGUF file: its config as keys, its tensors under GGUF's names and in its layouts. */
#include "io/gguf_export.h"

#include <plumb/log.h>
#include <stdlib.h>
#include <string.h>

#include "io/gguf_arch.h"

#define MODERN (PLUMB_HF_ALL & ~(PLUMB_HF_NEOX | PLUMB_HF_GPT2))

enum { ROPE = -1 }; /* in place of a tensor's index: made from the config */

struct item {
    char name[96];
    int64_t source; /* index in m->tensors, or ROPE */
    enum plumb_gguf_order order;
    bool stays; /* turned already */
};

struct view {
    const struct plumb_hf_model *m;
    struct item *item; /* (count) */
    struct plumb_weight *weight;
    enum plumb_gguf_store *store;
    int64_t count;
    struct plumb_turned turned;
};

static void release(struct view *v)
{
    free(v->item);
    free(v->weight);
    free(v->store);
    free(v->turned.x);
}

static int read_source(const struct view *v, const struct item *it, int64_t first, int64_t n,
                       double *out)
{
    const struct plumb_weights *w = &v->m->weights;
    return w->read(w, v->m->source[it->source], first, n, out);
}

/* Rows that stand elsewhere in Hugging Face's file. */
static int read_rows(const struct view *v, const struct item *it, int64_t row, int64_t first,
                     int64_t n, double *out)
{
    while (n > 0) {
        const int64_t at = first % row, take = row - at < n ? row - at : n;
        const int64_t r = plumb_gguf_row_in(&v->m->config.model, it->order, first / row);
        PLUMB_TRY(read_source(v, it, r * row + at, take, out));
        first += take, out += take, n -= take;
    }
    return PLUMB_OK;
}

static int read_numbers(const struct plumb_weights *w, int64_t index, int64_t first, int64_t n,
                        double *out)
{
    struct view *v = w->self;
    const struct item *it = &v->item[index];
    const struct plumb_weight *t = &v->weight[index];
    if (it->source == ROPE) {
        for (int64_t i = 0; i < n; i++)
            out[i] = plumb_gguf_rope_factor(&v->m->config.model, first + i);
        return PLUMB_OK;
    }
    switch (it->order) {
    case PLUMB_GGUF_PAIRED:
    case PLUMB_GGUF_UNFUSED: return read_rows(v, it, t->count / t->shape[0], first, n, out);
    case PLUMB_GGUF_TURNED:
        if (it->stays) break;
        return plumb_turned_read(&v->turned, &v->m->weights, v->m->source[it->source], first, n,
                                 out);
    case PLUMB_GGUF_ONE_MORE:
        PLUMB_TRY(read_source(v, it, first, n, out));
        for (int64_t i = 0; i < n; i++)
            out[i] += 1;
        return PLUMB_OK;
    case PLUMB_GGUF_SAME: break;
    }
    return read_source(v, it, first, n, out);
}

static enum plumb_gguf_store store_of(const struct plumb_weight *t, enum plumb_gguf_store store)
{
    if (t->rank < 2 || !strcmp(t->name, "position_embd.weight")) return PLUMB_STORE_F32;
    return store == PLUMB_STORE_Q8_0 && t->shape[1] % 32 ? PLUMB_STORE_F16 : store;
}

/* Appends tensor k under another name than its own when `name` says so. */
static int add(struct view *v, int64_t k, const char *name, enum plumb_gguf_store store)
{
    const struct plumb_hf_tensor *t = &v->m->tensors[k];
    const struct plumb_gguf_row *row;
    struct item *it = &v->item[v->count];
    struct plumb_weight *w = &v->weight[v->count];
    if (!plumb_gguf_name_of_hf(v->m->config.family, t->name, it->name, sizeof it->name, &row))
        return plumb_fail(PLUMB_ENOTSUP, "the tensor \"%s\" has no name in GGUF", t->name);
    it->order = plumb_gguf_order(row, t->name);
    it->source = k;
    it->stays = v->m->weights.tensor[v->m->source[k]].turned;
    if (name) snprintf(it->name, sizeof it->name, "%s", name);
    *w = (struct plumb_weight){ .name = it->name, .rank = t->rank, .count = t->rows * t->unit };
    const bool turn = it->order == PLUMB_GGUF_TURNED;
    w->shape[0] = turn ? t->shape[1] : t->shape[0];
    w->shape[1] = turn ? t->shape[0] : t->shape[1];
    v->store[v->count++] = store_of(w, store);
    return PLUMB_OK;
}

static int list(struct view *v, enum plumb_gguf_store store)
{
    const struct plumb_hf_model *m = v->m;
    const struct plumb_model_config *c = &m->config.model;
    const size_t most = (size_t)m->tensor_count + 2;
    v->item = calloc(most, sizeof *v->item);
    v->weight = calloc(most, sizeof *v->weight);
    v->store = calloc(most, sizeof *v->store);
    if (!v->item || !v->weight || !v->store)
        return plumb_fail(PLUMB_EMEM, "could not allocate the list of tensors");
    for (int64_t k = 0; k < m->tensor_count; k++)
        PLUMB_TRY(add(v, k, NULL, store));
    /* llama.cpp wants a head of this family, tied or not; the embedding comes first. */
    if (c->tied && m->config.family->bit == PLUMB_HF_NEOX)
        PLUMB_TRY(add(v, 0, "output.weight", store));
    if (c->rope_scaling != PLUMB_ROPE_LLAMA3) return PLUMB_OK;
    struct item *it = &v->item[v->count];
    *it = (struct item){ .name = PLUMB_GGUF_ROPE_FREQS, .source = ROPE };
    v->weight[v->count] = (struct plumb_weight){ .name = it->name,
                                                 .rank = 1,
                                                 .count = c->rope_dims / 2,
                                                 .shape = { c->rope_dims / 2 } };
    v->store[v->count++] = PLUMB_STORE_F32;
    return PLUMB_OK;
}

static int check(const struct plumb_hf_model *m)
{
    const struct plumb_model_config *c = &m->config.model;
    const bool mistral = m->config.family->bit == PLUMB_HF_MISTRAL;
    if (c->num_labels > 0)
        return plumb_fail(PLUMB_ENOTSUP,
                          "\"%s\" has a score head, which GGUF files written here do not hold",
                          m->weights.origin);
    if (c->window > 0 && (!mistral || c->window_layers != c->layers))
        return plumb_fail(PLUMB_ENOTSUP,
                          "\"%s\": a sliding window of a %s model cannot be said in a GGUF file",
                          m->weights.origin, c->family);
    if (c->window > 0 && c->window < c->max_positions)
        plumb_log(PLUMB_LOG_WARN,
                  "llama.cpp attends beyond the sliding window of %lld tokens: behind them its "
                  "numbers differ from this model's",
                  (long long)c->window);
    for (int64_t k = 0; k < m->tensor_count; k++)
        if (m->source[k] < 0)
            return plumb_fail(PLUMB_EFORMAT, "\"%s\": tensor \"%s\" is missing", m->weights.origin,
                              m->tensors[k].name);
    return PLUMB_OK;
}

/* Keys below the architecture's name. */
struct keys {
    struct plumb_gguf_writer *w;
    const char *prefix;
    char key[128];
};

static const char *below(struct keys *k, const char *name)
{
    snprintf(k->key, sizeof k->key, "%s.%s", k->prefix, name);
    return k->key;
}

static void put_whole(struct keys *k, const char *name, int64_t value)
{
    plumb_gguf_put_u32(k->w, below(k, name), (uint32_t)value);
}

static void put_sizes(struct keys *k, const struct plumb_hf_config *config)
{
    for (size_t i = 0; i < plumb_gguf_size_count; i++) {
        const struct plumb_gguf_size *s = &plumb_gguf_sizes[i];
        const char *field = (const char *)&config->model + s->field;
        double real;
        int64_t whole;
        if (!(s->families & config->family->bit)) continue;
        memcpy(&real, field, sizeof real);
        memcpy(&whole, field, sizeof whole);
        if (s->real)
            plumb_gguf_put_f32(k->w, below(k, s->gguf), real);
        else
            put_whole(k, s->gguf, whole);
    }
}

static void put_config(struct keys *k, const struct plumb_hf_config *config)
{
    const struct plumb_model_config *c = &config->model;
    put_sizes(k, config);
    put_whole(k, "vocab_size", c->vocab);
    if (config->family->bit & MODERN) {
        put_whole(k, "attention.head_count_kv", c->kv_heads);
        put_whole(k, "attention.key_length", c->head_size);
        put_whole(k, "attention.value_length", c->head_size);
    }
    if (c->rope != PLUMB_ROPE_NONE) put_whole(k, "rope.dimension_count", c->rope_dims);
    if (c->window > 0) put_whole(k, "attention.sliding_window", c->window);
    if (config->family->bit == PLUMB_HF_NEOX)
        plumb_gguf_put_bool(k->w, below(k, "use_parallel_residual"), c->parallel_residual);
    if (c->rope_scaling != PLUMB_ROPE_LINEAR) return;
    plumb_gguf_put_text(k->w, below(k, "rope.scaling.type"), "linear", 6);
    plumb_gguf_put_f32(k->w, below(k, "rope.scaling.factor"), c->rope_factor);
}

/* The name of the folder or file that the model came from. */
static void put_name(struct plumb_gguf_writer *w, const char *path)
{
    size_t n = path ? strlen(path) : 0;
    while (n > 0 && path[n - 1] == '/')
        n--;
    size_t from = n;
    while (from > 0 && path[from - 1] != '/')
        from--;
    if (n > from) plumb_gguf_put_text(w, "general.name", path + from, n - from);
}

static int put_keys(struct plumb_gguf_writer *w, const struct plumb_hf_model *m,
                    enum plumb_gguf_store store)
{
    struct keys k = { .w = w, .prefix = plumb_gguf_arch_of(m->config.family)->name };
    const uint32_t type = store == PLUMB_STORE_Q8_0   ? 7 /* llama_ftype of llama.h */
                          : store == PLUMB_STORE_BF16 ? 32
                                                      : store;
    plumb_gguf_put_text(w, "general.architecture", k.prefix, strlen(k.prefix));
    put_name(w, m->dir);
    plumb_gguf_put_u32(w, "general.file_type", type);
    plumb_gguf_put_u32(w, "general.quantization_version", 2);
    put_config(&k, &m->config);
    return plumb_gguf_put_tokenizer(w, m);
}

int plumb_gguf_export(const struct plumb_hf_model *m, enum plumb_gguf_store store, const char *path)
{
    int rc = PLUMB_OK;
    struct plumb_gguf_writer w = { 0 };
    struct view v = { .m = m, .turned.held = -1 };
    PLUMB_TRYG(check(m));
    PLUMB_TRYG(list(&v, store));
    PLUMB_TRYG(plumb_gguf_writer_open(&w));
    PLUMB_TRYG(put_keys(&w, m, store));
    const struct plumb_weights from = { .origin = m->weights.origin,
                                        .tensor = v.weight,
                                        .count = v.count,
                                        .read = read_numbers,
                                        .self = &v };
    PLUMB_TRYG(plumb_gguf_write(&w, path, &from, v.store));
out:
    plumb_gguf_writer_release(&w);
    release(&v);
    return rc;
}
