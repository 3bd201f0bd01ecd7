/* Adapter folders: opened beside their base, read into a flat buffer, written. */
#include "io/peft.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "io/json.h"
#include "io/numbers.h"
#include "io/safetensors.h"

#define PREFIX "base_model.model."
#define FILE_NAME "adapter_model.safetensors"

static int no_memory(void) { return plumb_fail(PLUMB_EMEM, "could not allocate adapters"); }

int plumb_peft_lay_out(struct plumb_peft *p, const struct plumb_hf_model *hf)
{
    const size_t most = (size_t)(2 * p->lora.count + p->lora.whole_count);
    p->params = calloc(most + 1, sizeof *p->params);
    if (!p->params) return no_memory();
    return plumb_lora_params(&p->lora, hf->params, hf->param_count, p->params, &p->param_count,
                             &p->elements);
}

void plumb_peft_release(struct plumb_peft *p)
{
    free(p->lora.adapter);
    free(p->whole);
    free(p->tensor);
    free(p->params);
    cJSON_Delete(p->config);
    plumb_weights_release(&p->weights);
    *p = (struct plumb_peft){ 0 };
}

static void adapter_entry(const struct plumb_peft *p, const struct plumb_hf_model *hf, int64_t i,
                          enum plumb_peft_kind kind, struct plumb_peft_entry *e)
{
    const struct plumb_adapter *a = &p->lora.adapter[i];
    const struct plumb_hf_tensor *t = &hf->tensors[p->tensor[i]];
    char module[128];
    const bool b = kind == PLUMB_PEFT_B;
    plumb_peft_module(t->name, module, sizeof module);
    *e = (struct plumb_peft_entry){ .kind = kind,
                                    .t = t,
                                    .rank = 2,
                                    .shape = { b ? t->rows : p->r, b ? p->r : t->unit },
                                    .at = b ? a->b : a->a };
    snprintf(e->name, sizeof e->name, PREFIX "%s.lora_%c.weight", module, b ? 'B' : 'A');
}

/* Where the trained buffer has parameter `param` of the model. */
static int64_t whole_offset(const struct plumb_peft *p, const struct plumb_hf_model *hf,
                            int64_t param)
{
    for (int64_t k = 0; k < p->param_count; k++)
        if (p->params[k].role == hf->params[param].role &&
            p->params[k].layer == hf->params[param].layer)
            return p->params[k].offset;
    return 0;
}

static bool is_whole(const struct plumb_peft *p, int64_t param)
{
    for (int64_t i = 0; i < p->lora.whole_count; i++)
        if (p->whole[i] == param) return true;
    return false;
}

int plumb_peft_entries(const struct plumb_peft *p, const struct plumb_hf_model *hf,
                       struct plumb_peft_entry **out, int64_t *count)
{
    struct plumb_peft_entry *e = calloc((size_t)(2 * p->lora.count + hf->tensor_count) + 1,
                                        sizeof *e);
    *out = e;
    *count = 0;
    if (!e) return no_memory();
    for (int64_t i = 0; i < p->lora.count; i++) {
        adapter_entry(p, hf, i, PLUMB_PEFT_A, &e[(*count)++]);
        adapter_entry(p, hf, i, PLUMB_PEFT_B, &e[(*count)++]);
    }
    for (int64_t k = 0; k < hf->tensor_count; k++) {
        const struct plumb_hf_tensor *t = &hf->tensors[k];
        if (!is_whole(p, t->param)) continue;
        struct plumb_peft_entry *w = &e[(*count)++];
        *w = (struct plumb_peft_entry){ .kind = PLUMB_PEFT_WHOLE,
                                        .t = t,
                                        .rank = t->rank,
                                        .shape = { t->shape[0], t->shape[1] },
                                        .at = whole_offset(p, hf, t->param) -
                                              hf->params[t->param].offset };
        snprintf(w->name, sizeof w->name, PREFIX "%s", t->name);
    }
    return PLUMB_OK;
}

/* The place of element (r, c) of the file's tensor in the flat buffer. */
static int64_t place(const struct plumb_peft *p, const struct plumb_peft_entry *e, int64_t r,
                     int64_t c)
{
    const struct plumb_hf_tensor *t = e->t;
    if (e->kind == PLUMB_PEFT_A) return e->at + r * e->shape[1] + c;
    if (e->kind == PLUMB_PEFT_WHOLE) return e->at + plumb_hf_place(t, r, c);
    const int64_t row = t->transposed ? r : (plumb_hf_place(t, r, 0) - t->offset) / t->unit;
    return e->at + row * p->r + c;
}

static int64_t columns_of(const struct plumb_peft_entry *e)
{
    return e->rank == 2 ? e->shape[1] : 1;
}

int plumb_peft_labels(const char *dir, int64_t *labels)
{
    struct plumb_weights w;
    char file[4096];
    PLUMB_TRY(plumb_path_join(file, sizeof file, dir, FILE_NAME));
    if (!plumb_file_exists(file))
        return plumb_fail(PLUMB_EIO,
                          "\"%s\" holds no " FILE_NAME
                          " (PEFT makes one of adapter_model.bin: load "
                          "the adapter and save_pretrained)",
                          dir);
    PLUMB_TRY(plumb_safetensors_open(&w, file));
    const int64_t score = plumb_weights_find(&w, PREFIX "score.weight");
    *labels = score >= 0 && w.tensor[score].rank == 2 ? w.tensor[score].shape[0] : 0;
    plumb_weights_release(&w);
    return PLUMB_OK;
}

static int resolve(const char *dir, const char *base, char *path, size_t n)
{
    if (!plumb_file_exists(base))
        PLUMB_TRY(plumb_path_join(path, n, dir, base));
    else if (snprintf(path, n, "%s", base) >= (int)n)
        return plumb_fail(PLUMB_EINVAL, "\"%.80s...\": the path is too long", base);
    if (!plumb_file_exists(path))
        return plumb_fail(PLUMB_EIO,
                          "\"%s\": the base model \"%s\" is no folder or file here, and nothing is "
                          "downloaded: set base_model_name_or_path in " PLUMB_PEFT_CONFIG,
                          dir, base);
    if (plumb_peft_is(path))
        return plumb_fail(PLUMB_ENOTSUP, "\"%s\": the base model \"%s\" is an adapter itself", dir,
                          path);
    return PLUMB_OK;
}

int plumb_peft_base(const char *dir, char *path, size_t n, int64_t *labels)
{
    struct plumb_peft p = { 0 };
    const char *base;
    int rc = plumb_peft_config_read(&p, dir);
    if (!rc) rc = plumb_json_string(p.config, "base_model_name_or_path", dir, &base);
    if (!rc) rc = resolve(dir, base, path, n);
    if (!rc) rc = plumb_peft_labels(dir, labels);
    plumb_peft_release(&p);
    return rc;
}

/* Lists the model's tensors that the file has adapters for, or has whole. */
static int match(struct plumb_peft *p, const struct plumb_hf_model *hf)
{
    p->lora.adapter = calloc((size_t)hf->tensor_count, sizeof *p->lora.adapter);
    p->tensor = calloc((size_t)hf->tensor_count, sizeof *p->tensor);
    p->whole = calloc((size_t)hf->param_count, sizeof *p->whole);
    if (!p->lora.adapter || !p->tensor || !p->whole) return no_memory();
    p->lora.whole = p->whole;
    for (int64_t k = 0; k < hf->tensor_count; k++) {
        const struct plumb_hf_tensor *t = &hf->tensors[k];
        char module[128], name[160];
        snprintf(name, sizeof name, PREFIX "%s", t->name);
        if (plumb_weights_find(&p->weights, name) >= 0 && !is_whole(p, t->param))
            p->whole[p->lora.whole_count++] = t->param;
        if (!plumb_peft_module(t->name, module, sizeof module)) continue;
        snprintf(name, sizeof name, PREFIX "%s.lora_A.weight", module);
        if (plumb_weights_find(&p->weights, name) < 0) continue;
        p->tensor[p->lora.count] = k;
        p->lora.adapter[p->lora.count++] = (struct plumb_adapter){
            .param = t->param,
            .first = (t->offset - hf->params[t->param].offset) / t->unit,
            .rows = t->rows,
        };
    }
    return plumb_peft_lay_out(p, hf);
}

static int check_entry(const struct plumb_peft *p, const struct plumb_peft_entry *e, bool *used)
{
    const int64_t i = plumb_weights_find(&p->weights, e->name);
    char has[128], wants[128];
    if (i < 0)
        return plumb_fail(PLUMB_EFORMAT, "\"%s\": tensor \"%s\" is missing", p->weights.origin,
                          e->name);
    const struct plumb_weight *w = &p->weights.tensor[i];
    bool same = w->rank == e->rank;
    for (int d = 0; d < e->rank && same; d++)
        same = w->shape[d] == e->shape[d];
    used[i] = true;
    return same
               ? PLUMB_OK
               : plumb_fail(PLUMB_EFORMAT, "\"%s\": tensor \"%s\" has shape %s, the model wants %s",
                            p->weights.origin, e->name,
                            plumb_shape_text(w->shape, w->rank, has, sizeof has),
                            plumb_shape_text(e->shape, e->rank, wants, sizeof wants));
}

static int check_all(const struct plumb_peft *p, const struct plumb_hf_model *hf)
{
    struct plumb_peft_entry *e = NULL;
    int64_t count = 0;
    int rc = PLUMB_OK;
    bool *used = calloc((size_t)p->weights.count + 1, sizeof *used);
    if (!used) return no_memory();
    PLUMB_TRYG(plumb_peft_entries(p, hf, &e, &count));
    for (int64_t i = 0; i < count; i++)
        PLUMB_TRYG(check_entry(p, &e[i], used));
    for (int64_t i = 0; i < p->weights.count; i++)
        if (!used[i])
            PLUMB_TRYG(plumb_fail(PLUMB_EFORMAT,
                                  "\"%s\": tensor \"%s\" belongs to no module of the "
                                  "base model",
                                  p->weights.origin, p->weights.tensor[i].name));
    if (count == 0)
        PLUMB_TRYG(plumb_fail(PLUMB_EFORMAT, "\"%s\" holds no tensor", p->weights.origin));
out:
    free(e);
    free(used);
    return rc;
}

int plumb_peft_open(struct plumb_peft *p, const char *dir, const struct plumb_hf_model *hf)
{
    char path[4096];
    int rc = PLUMB_OK;
    *p = (struct plumb_peft){ 0 };
    PLUMB_TRYG(plumb_peft_config_read(p, dir));
    PLUMB_TRYG(plumb_path_join(path, sizeof path, dir, FILE_NAME));
    PLUMB_TRYG(plumb_safetensors_open(&p->weights, path));
    PLUMB_TRYG(match(p, hf));
    PLUMB_TRYG(check_all(p, hf));
    p->lora.given = true;
out:
    if (rc) plumb_peft_release(p);
    return rc;
}

static int read_entry(const struct plumb_peft *p, const struct plumb_peft_entry *e, double *row,
                      enum plumb_dtype dtype, char *flat)
{
    const int64_t i = plumb_weights_find(&p->weights, e->name), columns = columns_of(e);
    for (int64_t r = 0; r < e->shape[0]; r++) {
        PLUMB_TRY(p->weights.read(&p->weights, i, r * columns, columns, row));
        for (int64_t c = 0; c < columns; c++) {
            if (!isfinite(row[c]))
                return plumb_fail(PLUMB_ENUM, "\"%s\": tensor \"%s\" holds %g at [%lld, %lld]",
                                  p->weights.origin, e->name, row[c], (long long)r, (long long)c);
            plumb_numbers_encode(dtype, &row[c], 1,
                                 flat + (size_t)place(p, e, r, c) * plumb_dtype_bytes(dtype));
        }
    }
    return PLUMB_OK;
}

int plumb_peft_read(const struct plumb_peft *p, const struct plumb_hf_model *hf,
                    enum plumb_dtype dtype, void *flat)
{
    struct plumb_peft_entry *e = NULL;
    int64_t count = 0, widest = 1;
    double *row = NULL;
    int rc = PLUMB_OK;
    PLUMB_TRYG(plumb_peft_entries(p, hf, &e, &count));
    for (int64_t i = 0; i < count; i++)
        if (columns_of(&e[i]) > widest) widest = columns_of(&e[i]);
    row = malloc((size_t)widest * sizeof *row);
    if (!row) PLUMB_TRYG(no_memory());
    memset(flat, 0, (size_t)p->elements * plumb_dtype_bytes(dtype));
    for (int64_t i = 0; i < count; i++)
        PLUMB_TRYG(read_entry(p, &e[i], row, dtype, flat));
out:
    free(row);
    free(e);
    return rc;
}

/* The trained buffer seen as PEFT's tensors. */
struct view {
    const struct plumb_peft *p;
    const struct plumb_peft_entry *entry;
    const char *flat;
    enum plumb_dtype dtype;
};

static int read_view(const struct plumb_weights *w, int64_t index, int64_t first, int64_t n,
                     double *out)
{
    const struct view *v = w->self;
    const struct plumb_peft_entry *e = &v->entry[index];
    const int64_t columns = columns_of(e);
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = place(v->p, e, (first + i) / columns, (first + i) % columns);
        plumb_numbers_decode(v->dtype, v->flat + (size_t)at * plumb_dtype_bytes(v->dtype), 1,
                             &out[i]);
    }
    return PLUMB_OK;
}

static int write_config(const struct plumb_peft *p, const char *dir, const char *base)
{
    char path[4096];
    PLUMB_TRY(plumb_path_join(path, sizeof path, dir, PLUMB_PEFT_CONFIG));
    cJSON *o = cJSON_Duplicate(p->config, true);
    cJSON_DeleteItemFromObjectCaseSensitive(o, "base_model_name_or_path");
    cJSON_AddStringToObject(o, "base_model_name_or_path", base);
    char *text = cJSON_Print(o);
    cJSON_Delete(o);
    if (!text) return no_memory();
    const int rc = plumb_file_write(path, text, strlen(text));
    cJSON_free(text);
    return rc;
}

int plumb_peft_write(const struct plumb_peft *p, const struct plumb_hf_model *hf, const char *dir,
                     const char *base, enum plumb_dtype dtype, const void *flat,
                     enum plumb_dtype stored)
{
    struct plumb_peft_entry *e = NULL;
    struct plumb_weight *list = NULL;
    int64_t count = 0;
    char path[4096];
    int rc = PLUMB_OK;
    PLUMB_TRYG(plumb_dir_make(dir));
    PLUMB_TRYG(plumb_path_join(path, sizeof path, dir, FILE_NAME));
    PLUMB_TRYG(plumb_peft_entries(p, hf, &e, &count));
    list = calloc((size_t)count + 1, sizeof *list);
    if (!list) PLUMB_TRYG(no_memory());
    for (int64_t i = 0; i < count; i++) {
        list[i] = (struct plumb_weight){ .name = e[i].name,
                                         .rank = e[i].rank,
                                         .count = e[i].shape[0] * columns_of(&e[i]) };
        memcpy(list[i].shape, e[i].shape, sizeof e[i].shape);
    }
    const struct view v = { p, e, flat, dtype };
    const struct plumb_weights w = { .origin = "memory",
                                     .tensor = list,
                                     .count = count,
                                     .read = read_view,
                                     .self = (void *)&v };
    PLUMB_TRYG(plumb_safetensors_write(path, &w, stored));
    PLUMB_TRYG(plumb_hf_model_write_text(hf, dir));
    PLUMB_TRYG(write_config(p, dir, base)); /* last: a folder without it holds no adapters */
out:
    free(list);
    free(e);
    return rc;
}
