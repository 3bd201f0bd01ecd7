/* config.json to a model config: single keys by the table, then what several keys say together. */
#include "io/hf_config.h"

#include <math.h>
#include <plumb/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "io/json.h"

/* What the passes below share. */
struct reader {
    const char *file;
    const cJSON *json;
    const struct plumb_hf_family *family;
    struct plumb_hf_config *out;
};

static int unsupported(const struct reader *r, const char *key, const cJSON *v, const char *reason)
{
    char *text = cJSON_PrintUnformatted(v);
    plumb_fail(PLUMB_ENOTSUP, "%s: \"%s\": %.80s is not supported%s", r->file, key,
               text ? text : "?", reason);
    cJSON_free(text);
    return PLUMB_ENOTSUP;
}

static int set_size(const struct reader *r, const struct plumb_hf_key *k, const cJSON *v,
                    void *field)
{
    int64_t n = v ? (int64_t)k->null : (int64_t)k->absent;
    const bool stated = (v && !cJSON_IsNull(v)) || n == (int64_t)PLUMB_HF_REQUIRED;
    if (stated) PLUMB_TRY(plumb_json_i64(r->json, k->name, r->file, &n));
    if (stated && n < 0)
        return plumb_fail(PLUMB_EFORMAT, "%s: \"%s\" wants a count, got %lld", r->file, k->name,
                          (long long)n);
    memcpy(field, &n, sizeof n);
    return PLUMB_OK;
}

static int set_id(const struct reader *r, const struct plumb_hf_key *k, const cJSON *v, void *field)
{
    int32_t id = v ? -1 : (int32_t)k->absent;
    const cJSON *first = cJSON_IsArray(v) ? v->child : v;
    if (first && !cJSON_IsNull(first)) {
        if (!cJSON_IsNumber(first) || first->valuedouble != trunc(first->valuedouble) ||
            first->valuedouble < 0 || first->valuedouble > INT32_MAX)
            return plumb_fail(PLUMB_EFORMAT, "%s: \"%s\" wants a token id, got %s", r->file,
                              k->name, plumb_json_type(first));
        id = (int32_t)first->valuedouble;
    }
    memcpy(field, &id, sizeof id);
    return PLUMB_OK;
}

static int set_activation(const struct reader *r, const struct plumb_hf_key *k, const cJSON *v)
{
    static const struct {
        const char *name;
        int gated, plain; /* -1 = none */
    } acts[] = {
        { "silu", PLUMB_ACT_SWIGLU, -1 },
        { "swish", PLUMB_ACT_SWIGLU, -1 },
        { "gelu", PLUMB_ACT_GEGLU_ERF, PLUMB_ACT_GELU_ERF },
        { "gelu_python", PLUMB_ACT_GEGLU_ERF, PLUMB_ACT_GELU_ERF },
        { "gelu_new", PLUMB_ACT_GEGLU_TANH, PLUMB_ACT_GELU_TANH },
        { "gelu_fast", PLUMB_ACT_GEGLU_TANH, PLUMB_ACT_GELU_TANH },
        { "gelu_pytorch_tanh", PLUMB_ACT_GEGLU_TANH, PLUMB_ACT_GELU_TANH },
    };
    if (!v || cJSON_IsNull(v)) return PLUMB_OK;
    const char *name;
    PLUMB_TRY(plumb_json_string(r->json, k->name, r->file, &name));
    /* Gemma's first files say "gelu" and mean the approximation, as transformers knows. */
    if (r->family->bit == PLUMB_HF_GEMMA && strcmp(name, "gelu") == 0) name = "gelu_new";
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) {
        const int act = r->family->gated ? acts[i].gated : acts[i].plain;
        if (strcmp(acts[i].name, name) != 0 || act < 0) continue;
        r->out->model.act = (enum plumb_act_kind)act;
        return PLUMB_OK;
    }
    return unsupported(r, k->name, v, "");
}

static int note_dropout(const struct reader *r, const struct plumb_hf_key *k)
{
    double p;
    PLUMB_TRY(plumb_json_f64_or(r->json, k->name, r->file, k->absent, &p));
    if (!(p >= 0 && p <= 1))
        return plumb_fail(PLUMB_EFORMAT, "%s: \"%s\" wants a probability, got %.17g", r->file,
                          k->name, p);
    if (p == 0 || r->out->dropout_key) return PLUMB_OK;
    r->out->dropout_key = k->name;
    r->out->dropout = p;
    return PLUMB_OK;
}

/* Null, an empty list or object, and the value at which the key does nothing pass. */
static int check_must(const struct reader *r, const struct plumb_hf_key *k, const cJSON *v)
{
    if (!v || cJSON_IsNull(v)) return PLUMB_OK;
    if ((cJSON_IsObject(v) || cJSON_IsArray(v)) && !v->child) return PLUMB_OK;
    if (cJSON_IsNumber(v) && v->valuedouble == k->absent) return PLUMB_OK;
    if (cJSON_IsBool(v) && (double)cJSON_IsTrue(v) == k->absent) return PLUMB_OK;
    return unsupported(r, k->name, v, "");
}

static int apply_key(const struct reader *r, const struct plumb_hf_key *k)
{
    const cJSON *v = plumb_json_get(r->json, k->name);
    char *field = (char *)&r->out->model + k->field;
    bool flag;
    double real;
    switch (k->kind) {
    case PLUMB_HF_SIZE: return set_size(r, k, v, field);
    case PLUMB_HF_REAL:
        PLUMB_TRY(plumb_json_f64_or(r->json, k->name, r->file, k->absent, &real));
        memcpy(field, &real, sizeof real);
        return PLUMB_OK;
    case PLUMB_HF_FLAG:
        PLUMB_TRY(plumb_json_bool_or(r->json, k->name, r->file, k->absent != 0, &flag));
        memcpy(field, &flag, sizeof flag);
        return PLUMB_OK;
    case PLUMB_HF_ID: return set_id(r, k, v, field);
    case PLUMB_HF_ACT: return set_activation(r, k, v);
    case PLUMB_HF_DROPOUT: return note_dropout(r, k);
    case PLUMB_HF_MUST: return check_must(r, k, v);
    case PLUMB_HF_KNOWN: break;
    }
    return PLUMB_OK;
}

static int apply_table(const struct reader *r)
{
    for (size_t i = 0; i < plumb_hf_key_count; i++)
        if (plumb_hf_keys[i].families & r->family->bit) PLUMB_TRY(apply_key(r, &plumb_hf_keys[i]));
    return PLUMB_OK;
}

static bool known(const struct plumb_hf_family *f, const char *key)
{
    for (size_t i = 0; i < plumb_hf_key_count; i++)
        if (plumb_hf_keys[i].families & f->bit && strcmp(plumb_hf_keys[i].name, key) == 0)
            return true;
    return false;
}

static void warn_of_unknown(const struct reader *r)
{
    char names[512] = "";
    size_t used = 0;
    for (const cJSON *e = r->json->child; e && used < sizeof names; e = e->next) {
        if (known(r->family, e->string)) continue;
        const int n = snprintf(names + used, sizeof names - used, "%s\"%s\"", used ? ", " : "",
                               e->string);
        used += n > 0 ? (size_t)n : 0;
    }
    if (used)
        plumb_log(PLUMB_LOG_WARN, "%s: unknown keys, taken to change no numbers: %s", r->file,
                  names);
}

/* The sizes that follow from others. */
static int derive_sizes(const struct reader *r)
{
    struct plumb_model_config *m = &r->out->model;
    const int64_t derived = (int64_t)PLUMB_HF_DERIVED;
    if (r->family->bit & (PLUMB_HF_GPT2 | PLUMB_HF_NEOX)) m->kv_heads = m->head_size = derived;
    if (m->kv_heads == derived) m->kv_heads = m->heads;
    if (m->ffn == derived) m->ffn = m->width <= INT32_MAX ? 4 * m->width : m->width;
    if (m->head_size != derived) return PLUMB_OK;
    if (m->heads < 1 || m->width % m->heads != 0)
        return plumb_fail(PLUMB_EFORMAT, "%s: a width of %lld cannot be split over %lld heads",
                          r->file, (long long)m->width, (long long)m->heads);
    m->head_size = m->width / m->heads;
    return PLUMB_OK;
}

/* rope_scaling (before transformers 5) or rope_parameters, NULL without; *key is its name. */
static int find_rope(const struct reader *r, const char **key, const cJSON **out)
{
    const cJSON *o = plumb_json_get(r->json, *key = "rope_scaling");
    if (!o || cJSON_IsNull(o) || (cJSON_IsObject(o) && !o->child))
        o = plumb_json_get(r->json, *key = "rope_parameters");
    *out = cJSON_IsNull(o) ? NULL : o;
    if (*out && !cJSON_IsObject(o))
        return plumb_fail(PLUMB_EFORMAT, "%s: \"%s\" wants an object, got %s", r->file, *key,
                          plumb_json_type(o));
    for (const cJSON *e = *out ? o->child : NULL; e; e = e->next)
        if (cJSON_IsObject(e))
            return unsupported(r, *key, o, ": rotary settings that differ between layers");
    return PLUMB_OK;
}

/* Base and rotated share: a value inside the object wins over one beside it. */
static int read_rope_base(const struct reader *r, const cJSON *o)
{
    struct plumb_model_config *m = &r->out->model;
    const bool neox = r->family->bit == PLUMB_HF_NEOX;
    const char *theta = neox ? "rotary_emb_base" : "rope_theta";
    const char *share = neox ? "rotary_pct" : "partial_rotary_factor";
    double part;
    PLUMB_TRY(plumb_json_f64_or(r->json, theta, r->file, 1e4, &m->rope_theta));
    PLUMB_TRY(plumb_json_f64_or(o, "rope_theta", r->file, m->rope_theta, &m->rope_theta));
    PLUMB_TRY(plumb_json_f64_or(r->json, share, r->file, r->family->rotary_share, &part));
    PLUMB_TRY(plumb_json_f64_or(o, "partial_rotary_factor", r->file, part, &part));
    if (!(part > 0 && part <= 1) || (!neox && part != 1))
        return plumb_fail(PLUMB_ENOTSUP,
                          "%s: \"partial_rotary_factor\": %.17g is not supported by %s", r->file,
                          part, r->family->model_type);
    m->rope_dims = (int64_t)((double)m->head_size * part);
    return PLUMB_OK;
}

static int read_rope(const struct reader *r)
{
    struct plumb_model_config *m = &r->out->model;
    const cJSON *o;
    const char *key, *kind = "default";
    PLUMB_TRY(find_rope(r, &key, &o));
    PLUMB_TRY(read_rope_base(r, o));
    const char *type = plumb_json_get(o, "rope_type") ? "rope_type" : "type";
    if (plumb_json_get(o, type)) PLUMB_TRY(plumb_json_string(o, type, r->file, &kind));
    if (strcmp(kind, "default") == 0) return PLUMB_OK;
    const bool linear = strcmp(kind, "linear") == 0;
    if (!linear && strcmp(kind, "llama3") != 0)
        return plumb_fail(PLUMB_ENOTSUP,
                          "%s: \"%s\": the rope type \"%.40s\" is not supported (default, linear "
                          "and llama3 are)",
                          r->file, key, kind);
    const struct {
        const char *name;
        double *to;
    } factors[] = { { "factor", &m->rope_factor },
                    { "low_freq_factor", &m->rope_low_freq_factor },
                    { "high_freq_factor", &m->rope_high_freq_factor } };
    for (int i = 0; i < (linear ? 1 : 3); i++) {
        PLUMB_TRY(plumb_json_f64_or(o, factors[i].name, r->file, NAN, factors[i].to));
        if (isnan(*factors[i].to))
            return plumb_fail(PLUMB_EFORMAT, "%s: \"%s\" lacks \"%s\"", r->file, key,
                              factors[i].name);
    }
    m->rope_scaling = linear ? PLUMB_ROPE_LINEAR : PLUMB_ROPE_LLAMA3;
    return plumb_json_i64_or(o, "original_max_position_embeddings", r->file, m->max_positions,
                             &m->rope_original_positions);
}

/* Layer i's entry of layer_types; `on`: what the other keys say, changed to what the entry says. */
static int read_layer_type(const struct reader *r, const cJSON *t, int64_t i, bool *on)
{
    const bool qwen = (r->family->bit & (PLUMB_HF_QWEN2 | PLUMB_HF_QWEN3)) != 0;
    const char *name = cJSON_IsString(t) ? t->valuestring : "";
    const bool sliding = strcmp(name, "sliding_attention") == 0;
    if (!sliding && strcmp(name, "full_attention") != 0)
        return unsupported(r, "layer_types", t, "");
    if (sliding ? r->out->model.window == 0 : *on && !qwen)
        return plumb_fail(PLUMB_ENOTSUP,
                          "%s: \"layer_types\" of layer %lld contradicts \"sliding_window\"",
                          r->file, (long long)i);
    *on = sliding;
    return PLUMB_OK;
}

/* More labels are refused; with more layers plumb_model_params refuses the whole. */
enum { LABELS = 1 << 16, LAYERS = 1 << 16 };

/* Mistral uses its window in all layers, Qwen from max_window_layers on and only if asked;
 * layer_types says it layer by layer. What is built: the first so many layers. */
static int read_windows(const struct reader *r)
{
    struct plumb_model_config *m = &r->out->model;
    const cJSON *types = plumb_json_get(r->json, "layer_types");
    bool use = true;
    int64_t from = 0;
    if (cJSON_IsNull(types)) types = NULL;
    if (types && (!cJSON_IsArray(types) || cJSON_GetArraySize(types) != m->layers))
        return plumb_fail(PLUMB_EFORMAT, "%s: \"layer_types\" wants a list of %lld names", r->file,
                          (long long)m->layers);
    if (r->family->bit & (PLUMB_HF_QWEN2 | PLUMB_HF_QWEN3)) {
        PLUMB_TRY(plumb_json_bool_or(r->json, "use_sliding_window", r->file, false, &use));
        PLUMB_TRY(plumb_json_i64_or(r->json, "max_window_layers", r->file, 28, &from));
    }
    if (!use) m->window = 0;
    const cJSON *t = types ? types->child : NULL;
    for (int64_t i = 0; i < m->layers && i < LAYERS && (t || m->window > 0); i++) {
        bool on = m->window > 0 && i >= from;
        if (t) PLUMB_TRY(read_layer_type(r, t, i, &on));
        if (on && m->window_layers < i)
            return plumb_fail(
                PLUMB_ENOTSUP,
                "%s: \"%s\": a sliding window from layer %lld on is not supported (the "
                "first layers or all are)",
                r->file, types ? "layer_types" : "max_window_layers", (long long)i);
        m->window_layers += on;
        if (t) t = t->next;
    }
    if (m->window_layers == 0) m->window = 0;
    return PLUMB_OK;
}

static int read_labels(const struct reader *r)
{
    const cJSON *labels = plumb_json_get(r->json, "id2label");
    int64_t n;
    PLUMB_TRY(plumb_json_i64_or(r->json, "num_labels", r->file, 2, &n));
    if (cJSON_IsObject(labels)) n = cJSON_GetArraySize(labels);
    if (n < 1 || n > LABELS)
        return plumb_fail(PLUMB_EFORMAT, "%s: \"num_labels\" wants to be 1 to %d, got %lld",
                          r->file, LABELS, (long long)n);
    r->out->model.num_labels = n;
    return PLUMB_OK;
}

static int read_architecture(const struct reader *r)
{
    const cJSON *list = plumb_json_get(r->json, "architectures");
    const cJSON *first = cJSON_IsArray(list) ? list->child : NULL;
    if (!first) return PLUMB_OK; /* a causal language model */
    const struct plumb_hf_family *f = r->family;
    const char *name = cJSON_IsString(first) ? first->valuestring : "";
    const size_t stem = strlen(f->stem);
    const char *kind = strncmp(name, f->stem, stem) == 0 ? name + stem : "";
    if (strcmp(kind, PLUMB_HF_CLASSIFIER) == 0) return read_labels(r);
    if (strcmp(kind, f->causal) == 0 || strcmp(kind, "Model") == 0) return PLUMB_OK;
    return plumb_fail(PLUMB_ENOTSUP,
                      "%s: the architecture \"%.60s\" is not supported (%s%s and %s%s are)",
                      r->file, name, f->stem, f->causal, f->stem, PLUMB_HF_CLASSIFIER);
}

static int read_dtype(const struct reader *r)
{
    const char *key = plumb_json_get(r->json, "dtype") ? "dtype" : "torch_dtype", *name = "float32";
    const cJSON *v = plumb_json_get(r->json, key);
    if (v && !cJSON_IsNull(v)) PLUMB_TRY(plumb_json_string(r->json, key, r->file, &name));
    if (strncmp(name, "torch.", 6) == 0) name += 6;
    r->out->dtype = PLUMB_F32;
    for (int t = PLUMB_F64; t <= PLUMB_F16; t++)
        if (strcmp(plumb_dtype_name((enum plumb_dtype)t), name) == 0)
            r->out->dtype = (enum plumb_dtype)t;
    return PLUMB_OK;
}

/* The ids of `key`: a number, a list of numbers, or nothing (then *count stays). */
static int read_ids(const cJSON *json, const char *key, const char *file, int32_t *out, int *count)
{
    const cJSON *v = plumb_json_get(json, key);
    if (!v || cJSON_IsNull(v)) return PLUMB_OK;
    int n = 0;
    for (const cJSON *e = cJSON_IsArray(v) ? v->child : v; e;
         e = cJSON_IsArray(v) ? e->next : NULL) {
        if (!cJSON_IsNumber(e) || e->valuedouble != trunc(e->valuedouble) || e->valuedouble < 0 ||
            e->valuedouble > INT32_MAX || n == PLUMB_HF_EOS)
            return plumb_fail(PLUMB_EFORMAT, "%s: \"%s\" wants a token id or a list of at most %d",
                              file, key, PLUMB_HF_EOS);
        out[n++] = (int32_t)e->valuedouble;
    }
    *count = n;
    return PLUMB_OK;
}

static int read_model(const struct reader *r)
{
    struct plumb_model_config *m = &r->out->model;
    PLUMB_TRY(apply_table(r));
    PLUMB_TRY(derive_sizes(r));
    if (m->rope != PLUMB_ROPE_NONE) PLUMB_TRY(read_rope(r));
    PLUMB_TRY(read_windows(r));
    PLUMB_TRY(read_architecture(r));
    PLUMB_TRY(read_dtype(r));
    PLUMB_TRY(read_ids(r->json, "eos_token_id", r->file, r->out->eos, &r->out->eos_count));
    m->embed_scale = r->family->scale_embedding ? sqrt((double)m->width) : 1;
    m->attention_scale = m->head_size > 0 ? 1 / sqrt((double)m->head_size) : 0;
    m->logit_scale = 1;
    int64_t count, elements;
    const int64_t capacity = plumb_model_param_capacity(m);
    struct plumb_param *p = malloc((size_t)capacity * sizeof *p);
    if (!p)
        return plumb_fail(PLUMB_EMEM, "could not allocate %lld parameters", (long long)capacity);
    const int rc = plumb_model_params(m, p, capacity, &count, &elements);
    free(p);
    return rc == PLUMB_EINVAL ? plumb_fail_while(PLUMB_EFORMAT, "%s", r->file) : rc;
}

int plumb_hf_config_parse(struct plumb_hf_config *c, const char *text, size_t n, const char *name)
{
    *c = (struct plumb_hf_config){ 0 };
    int rc = PLUMB_OK;
    const char *type;
    PLUMB_TRYG(plumb_json_parse(text, n, name, &c->json));
    c->text = strndup(text, n);
    if (!c->text) PLUMB_TRYG(plumb_fail(PLUMB_EMEM, "could not allocate the text of \"%s\"", name));
    PLUMB_TRYG(plumb_json_string(c->json, "model_type", name, &type));
    c->family = plumb_hf_family_find(type);
    if (!c->family) {
        char list[256];
        PLUMB_TRYG(plumb_fail(PLUMB_ENOTSUP,
                              "%s: the model_type \"%.40s\" is not supported (%s are)", name, type,
                              plumb_hf_family_list(list, sizeof list)));
    }
    c->model = c->family->traits;
    snprintf(c->model.family, sizeof c->model.family, "%s", c->family->model_type);
    const struct reader r = { name, c->json, c->family, c };
    PLUMB_TRYG(read_model(&r));
    warn_of_unknown(&r);
out:
    if (rc) plumb_hf_config_release(c);
    return rc;
}

/* generation_config.json: its ids win; the model's own stay for what it leaves out. */
static int read_generation(struct plumb_hf_config *c, const char *dir)
{
    char path[4096];
    cJSON *json = NULL;
    int32_t id[PLUMB_HF_EOS];
    int rc = PLUMB_OK, n = 0;
    PLUMB_TRY(plumb_path_join(path, sizeof path, dir, "generation_config.json"));
    if (!plumb_file_exists(path)) return PLUMB_OK;
    PLUMB_TRYG(plumb_json_load(path, 0, &json));
    PLUMB_TRYG(read_ids(json, "eos_token_id", path, c->eos, &c->eos_count));
    if (c->model.eos_id < 0 && c->eos_count > 0) c->model.eos_id = c->eos[0];
    PLUMB_TRYG(read_ids(json, "bos_token_id", path, id, &n));
    if (c->model.bos_id < 0 && n > 0) c->model.bos_id = id[0];
    n = 0;
    PLUMB_TRYG(read_ids(json, "pad_token_id", path, id, &n));
    if (c->model.pad_id < 0 && n > 0) c->model.pad_id = id[0];
out:
    cJSON_Delete(json);
    return rc;
}

int plumb_hf_config_read(struct plumb_hf_config *c, const char *dir)
{
    char path[4096], *text = NULL;
    size_t n;
    *c = (struct plumb_hf_config){ 0 };
    PLUMB_TRY(plumb_path_join(path, sizeof path, dir, "config.json"));
    PLUMB_TRY(plumb_file_read(path, (size_t)16 << 20, &text, &n));
    int rc = plumb_hf_config_parse(c, text, n, path);
    free(text);
    if (rc == PLUMB_OK) rc = read_generation(c, dir);
    if (rc) plumb_hf_config_release(c);
    return rc;
}

void plumb_hf_config_release(struct plumb_hf_config *c)
{
    cJSON_Delete(c->json);
    free(c->text);
    *c = (struct plumb_hf_config){ 0 };
}

int plumb_hf_config_check_dropout(const struct plumb_hf_config *c)
{
    if (!c->dropout_key) return PLUMB_OK;
    const bool stated = plumb_json_get(c->json, c->dropout_key) != NULL;
    return plumb_fail(
        PLUMB_ENOTSUP,
        "config.json: \"%s\" is %.17g%s and dropout is not supported in training: set it to 0",
        c->dropout_key, c->dropout, stated ? "" : " where the file does not say");
}
