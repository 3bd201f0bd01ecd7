/* Writing a model folder. */
#include <math.h>
#include <plumb/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "io/gguf_model.h"
#include "io/hf_model.h"
#include "io/json.h"
#include "io/numbers.h"
#include "io/safetensors.h"

/* The flat buffer seen as named tensors. */
struct view {
    const struct plumb_hf_model *m;
    const char *flat;
    enum plumb_dtype dtype;
};

static int read_view(const struct plumb_weights *w, int64_t index, int64_t first, int64_t n,
                     double *out)
{
    const struct view *v = w->self;
    const struct plumb_hf_tensor *t = &v->m->tensors[index];
    const int64_t columns = t->rank == 2 ? t->shape[1] : 1;
    const int64_t bytes = (int64_t)plumb_dtype_bytes(v->dtype);
    while (n > 0) {
        const int64_t r = first / columns, c = first % columns;
        int64_t run = t->transposed ? 1 : columns - c; /* neighbours in both layouts */
        if (run > n) run = n;
        plumb_numbers_decode(v->dtype, v->flat + bytes * plumb_hf_place(t, r, c), run, out);
        first += run;
        out += run;
        n -= run;
    }
    return PLUMB_OK;
}

static int write_weights(const struct view *v, const char *dir, enum plumb_dtype stored)
{
    const struct plumb_hf_model *m = v->m;
    struct plumb_weight *list = calloc((size_t)m->tensor_count, sizeof *list);
    if (!list) return plumb_fail(PLUMB_EMEM, "could not allocate the list of tensors");
    for (int64_t k = 0; k < m->tensor_count; k++) {
        const struct plumb_hf_tensor *t = &m->tensors[k];
        list[k] = (struct plumb_weight){ .name = t->name,
                                         .rank = t->rank,
                                         .count = t->rows * t->unit };
        memcpy(list[k].shape, t->shape, sizeof t->shape);
    }
    const struct plumb_weights w = { .origin = "memory",
                                     .tensor = list,
                                     .count = m->tensor_count,
                                     .read = read_view,
                                     .self = (void *)v };
    const int rc = plumb_safetensors_write_folder(dir, &w, stored, 0);
    free(list);
    return rc;
}

static int write_config(const struct plumb_hf_model *m, const char *dir, enum plumb_dtype stored)
{
    char path[4096];
    PLUMB_TRY(plumb_path_join(path, sizeof path, dir, "config.json"));
    cJSON *json = plumb_hf_config_saved(&m->config, stored);
    char *text = cJSON_Print(json);
    cJSON_Delete(json);
    if (!text) return plumb_fail(PLUMB_EMEM, "could not allocate the text of \"%s\"", path);
    const int rc = plumb_file_write(path, text, strlen(text));
    cJSON_free(text);
    return rc;
}

/* A GGUF file's tokenizer as files; one that cannot be had must not cost the weights. */
static int copy_tokenizer(const struct plumb_hf_model *m, const char *dir)
{
    if (!plumb_file_exists(m->dir)) return PLUMB_OK;
    const int rc = plumb_gguf_write_tokenizer(m->dir, dir);
    if (rc != PLUMB_EFORMAT && rc != PLUMB_ENOTSUP) return rc;
    plumb_log(PLUMB_LOG_WARN, "\"%s\" gets no tokenizer: %s", dir, plumb_errmsg());
    return PLUMB_OK;
}

/* The template for conversations with tools has a folder of its own. */
static int copy_tool_template(const struct plumb_hf_model *m, const char *dir)
{
    static const char name[] = "additional_chat_templates/tool_use.jinja";
    char from[4096], to[4096];
    const char *source = m->tokenizer_dir ? m->tokenizer_dir : m->dir;
    if (!source || plumb_gguf_is(source)) return PLUMB_OK;
    PLUMB_TRY(plumb_path_join(from, sizeof from, source, name));
    PLUMB_TRY(plumb_path_join(to, sizeof to, dir, name));
    if (!plumb_file_exists(from) || plumb_file_same(from, to)) return PLUMB_OK;
    *strrchr(to, '/') = 0;
    PLUMB_TRY(plumb_dir_make(to));
    PLUMB_TRY(plumb_path_join(to, sizeof to, dir, name));
    return plumb_file_copy(from, to);
}

static int copy_extras(const struct plumb_hf_model *m, const char *dir, bool text_only)
{
    static const char *const names[] = {
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "tokenizer.model",
        "spiece.model",
        "vocab.json",
        "merges.txt",
        "chat_template.jinja",
        "chat_template.json",
    };
    char from[4096], to[4096];
    const bool gguf = m->dir && plumb_gguf_is(m->dir);
    if (gguf && !m->tokenizer_dir) return copy_tokenizer(m, dir);
    for (size_t i = gguf || text_only ? 1 : 0; i < sizeof names / sizeof *names; i++) {
        const char *source = i > 0 && m->tokenizer_dir ? m->tokenizer_dir : m->dir;
        if (!source) continue;
        PLUMB_TRY(plumb_path_join(from, sizeof from, source, names[i]));
        PLUMB_TRY(plumb_path_join(to, sizeof to, dir, names[i]));
        if (plumb_file_exists(from) && !plumb_file_same(from, to))
            PLUMB_TRY(plumb_file_copy(from, to));
    }
    return copy_tool_template(m, dir);
}

/* A chat template of the caller's is that of the model written, as the files say. */
static int copy_chat_template(const struct plumb_hf_model *m, const char *dir)
{
    char to[4096];
    if (!m->chat_template) return PLUMB_OK;
    PLUMB_TRY(plumb_path_join(to, sizeof to, dir, "chat_template.jinja"));
    return plumb_file_same(m->chat_template, to) ? PLUMB_OK : plumb_file_copy(m->chat_template, to);
}

int plumb_hf_model_write_text(const struct plumb_hf_model *m, const char *dir)
{
    PLUMB_TRY(copy_extras(m, dir, true));
    return copy_chat_template(m, dir);
}

int plumb_hf_model_write(const struct plumb_hf_model *m, const char *dir, enum plumb_dtype dtype,
                         const void *flat, enum plumb_dtype stored)
{
    const struct view v = { m, flat, dtype };
    PLUMB_TRY(plumb_dir_make(dir));
    PLUMB_TRY(write_weights(&v, dir, stored));
    PLUMB_TRY(copy_extras(m, dir, false));
    PLUMB_TRY(copy_chat_template(m, dir));
    return write_config(m, dir, stored); /* last: a folder without it is no model */
}

/* The weights of a model as files of Hugging Face have them, in the order of its tensors. */
struct stream {
    const struct plumb_hf_model *m;
    enum plumb_dtype stored;
    struct plumb_turned turned;
};

static int read_stream(const struct plumb_weights *w, int64_t index, int64_t first, int64_t n,
                       double *out)
{
    struct stream *s = w->self;
    const struct plumb_hf_model *m = s->m;
    const struct plumb_weights *from = &m->weights;
    const struct plumb_weight *t = &from->tensor[m->source[index]];
    const enum plumb_dtype stored = s->stored == PLUMB_DTYPES ? plumb_safetensors_keeps(t->dtype)
                                                              : s->stored;
    if (m->tensors[index].transposed && t->turned)
        PLUMB_TRY(plumb_turned_read(&s->turned, from, m->source[index], first, n, out));
    else
        PLUMB_TRY(from->read(from, m->source[index], first, n, out));
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(plumb_dtype_round(stored, out[i])))
            return plumb_fail(
                PLUMB_ENUM, "\"%s\": number %lld of tensor \"%s\" is %g, which %s does not hold",
                from->origin, (long long)(first + i), t->name, out[i], plumb_dtype_name(stored));
    if (first + n == t->count) plumb_map_forget(t->data, t->bytes);
    return PLUMB_OK;
}

static int copy_weights(struct stream *s, const char *dir, int64_t shard_bytes)
{
    const struct plumb_hf_model *m = s->m;
    struct plumb_weight *list = calloc((size_t)m->tensor_count, sizeof *list);
    if (!list) return plumb_fail(PLUMB_EMEM, "could not allocate the list of tensors");
    int rc = PLUMB_OK;
    for (int64_t k = 0; k < m->tensor_count; k++) {
        const struct plumb_hf_tensor *t = &m->tensors[k];
        if (m->source[k] < 0)
            PLUMB_TRYG(plumb_fail(PLUMB_EFORMAT, "\"%s\": tensor \"%s\" is missing",
                                  m->weights.origin, t->name));
        list[k] = (struct plumb_weight){ .name = t->name,
                                         .dtype = m->weights.tensor[m->source[k]].dtype,
                                         .rank = t->rank,
                                         .count = t->rows * t->unit };
        memcpy(list[k].shape, t->shape, sizeof t->shape);
    }
    const struct plumb_weights w = { .origin = m->weights.origin,
                                     .tensor = list,
                                     .count = m->tensor_count,
                                     .read = read_stream,
                                     .self = s };
    rc = plumb_safetensors_write_folder(dir, &w, s->stored, shard_bytes);
out:
    free(list);
    return rc;
}

int plumb_hf_model_copy(const struct plumb_hf_model *m, const char *dir, enum plumb_dtype stored,
                        int64_t shard_bytes)
{
    struct stream s = { .m = m, .stored = stored, .turned.held = -1 };
    char path[4096];
    PLUMB_TRY(plumb_dir_make(dir));
    const int rc = copy_weights(&s, dir, shard_bytes);
    free(s.turned.x);
    PLUMB_TRY(rc);
    PLUMB_TRY(copy_extras(m, dir, false));
    if (stored != PLUMB_DTYPES) return write_config(m, dir, stored);
    PLUMB_TRY(plumb_path_join(path, sizeof path, dir, "config.json"));
    return plumb_file_write(path, m->config.text, strlen(m->config.text));
}
