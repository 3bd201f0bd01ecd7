/* GGUF's metadata and tensors as a Hugging Face config and weights. */
#include "io/gguf_model.h"

#include <math.h>
#include <plumb/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/gguf.h"
#include "io/json.h"

#define ARCHITECTURE "llama"
#define PREFIX ARCHITECTURE "."

/* Keys below "llama.". */
static const struct key {
    const char *name;
    bool must; /* changes numbers in a way not built here unless it is `value` */
    double value;
} keys[] = {
    { "block_count" },
    { "context_length" },
    { "embedding_length" },
    { "feed_forward_length" },
    { "vocab_size" },
    { "attention.head_count" },
    { "attention.head_count_kv" },
    { "attention.key_length" },
    { "attention.value_length" },
    { "attention.layer_norm_rms_epsilon" },
    { "rope.dimension_count" },
    { "rope.freq_base" },
    { "rope.scaling.type" },
    { "rope.scaling.factor" },
    { "rope.scaling.original_context_length" },
    { "rope.scaling.finetuned" },
    { "expert_count", true, 0 },
    { "expert_used_count", true, 0 },
    { "attention.sliding_window", true, 0 },
    { "attention.scale", true, 0 },
    { "attention.clamp_kqv", true, 0 },
    { "attention.max_alibi_bias", true, 0 },
    { "attn_logit_softcapping", true, 0 },
    { "final_logit_softcapping", true, 0 },
    { "logit_scale", true, 1 },
    { "embedding_scale", true, 1 },
    { "residual_scale", true, 1 },
    { "rope.scale_linear", true, 1 },
    { "rope.scaling.attn_factor", true, 1 },
    { "use_parallel_residual", true, 0 },
};

/* Tensors: outside the layers, then inside "blk.<n>.". */
static const struct name {
    const char *gguf, *hf;
    int order; /* 1 = rows of q, 2 = rows of k stand in interleaved order */
} outside[] = { { "token_embd", "model.embed_tokens" },
                { "output_norm", "model.norm" },
                { "output", "lm_head" } },
  inside[] = { { "attn_norm", "input_layernorm" },  { "ffn_norm", "post_attention_layernorm" },
               { "attn_q", "self_attn.q_proj", 1 }, { "attn_k", "self_attn.k_proj", 2 },
               { "attn_v", "self_attn.v_proj" },    { "attn_output", "self_attn.o_proj" },
               { "ffn_gate", "mlp.gate_proj" },     { "ffn_up", "mlp.up_proj" },
               { "ffn_down", "mlp.down_proj" } };

struct item {
    char name[128]; /* Hugging Face's */
    const struct plumb_gguf_tensor *tensor;
    int64_t heads; /* interleaved rows of so many heads; 0 = as they stand */
};

struct model {
    struct plumb_gguf gguf;
    struct item *item; /* (count) in the order of `weight` */
    struct plumb_weight *weight;
};

bool plumb_gguf_is(const char *path)
{
    const size_t n = strlen(path);
    return n > 5 && strcmp(path + n - 5, ".gguf") == 0;
}

/* The value of a key below "llama.", `fallback` when absent. */
static int number(const struct plumb_gguf *g, const char *name, double fallback, double *out)
{
    char key[128];
    snprintf(key, sizeof key, PREFIX "%s", name);
    PLUMB_TRY(plumb_gguf_f64_or(g, key, fallback, out));
    if (!isnan(*out)) return PLUMB_OK;
    return plumb_fail(PLUMB_EFORMAT, "\"%s\": the key \"%s\" is missing", g->path, key);
}

/* The shortest decimal that f32 keeps as this number: 1e-05 where f32 made 9.99999975e-06 of it. */
static double shortest(double x)
{
    char text[40];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if ((double)strtof(text, NULL) == x) return strtod(text, NULL);
    }
    return x;
}

static int check_key(const struct plumb_gguf *g, const struct key *k)
{
    char name[128];
    double value;
    bool flag;
    if (!k->must) return PLUMB_OK;
    snprintf(name, sizeof name, PREFIX "%s", k->name);
    const struct plumb_gguf_entry *e = plumb_gguf_find(g, name);
    if (e && !e->array && e->type == PLUMB_GGUF_BOOL) {
        PLUMB_TRY(plumb_gguf_bool_or(g, name, false, &flag));
        value = flag;
    } else {
        PLUMB_TRY(plumb_gguf_f64_or(g, name, k->value, &value));
    }
    if (value == k->value) return PLUMB_OK;
    return plumb_fail(PLUMB_ENOTSUP, "\"%s\": \"%s\" = %g is not supported", g->path, name, value);
}

/* Refuses keys that change numbers, warns of those that nobody knows. */
static int check_keys(const struct plumb_gguf *g)
{
    enum { KEYS = sizeof keys / sizeof *keys };
    char unknown[512] = "";
    size_t used = 0;
    for (int k = 0; k < KEYS; k++)
        PLUMB_TRY(check_key(g, &keys[k]));
    for (int64_t i = 0; i < g->entries && used < sizeof unknown; i++) {
        const struct plumb_gguf_entry *e = &g->entry[i];
        const size_t prefix = strlen(PREFIX);
        if (e->key_bytes <= prefix || memcmp(e->key, PREFIX, prefix)) continue;
        int k = 0;
        while (k < KEYS && (strlen(keys[k].name) != e->key_bytes - prefix ||
                            memcmp(keys[k].name, e->key + prefix, e->key_bytes - prefix)))
            k++;
        if (k < KEYS) continue;
        const int n = snprintf(unknown + used, sizeof unknown - used, "%s\"%.*s\"",
                               used ? ", " : "", (int)e->key_bytes, e->key);
        used += n > 0 ? (size_t)n : 0;
    }
    if (used)
        plumb_log(PLUMB_LOG_WARN, "\"%s\": unknown keys, taken to change no numbers: %s", g->path,
                  unknown);
    return PLUMB_OK;
}

static int check_architecture(const struct plumb_gguf *g)
{
    const char *name;
    size_t n;
    PLUMB_TRY(plumb_gguf_string(g, "general.architecture", &name, &n));
    if (n == strlen(ARCHITECTURE) && !memcmp(name, ARCHITECTURE, n)) return PLUMB_OK;
    return plumb_fail(
        PLUMB_ENOTSUP,
        "\"%s\": the architecture \"%.*s\" is not supported in GGUF files (" ARCHITECTURE " is)",
        g->path, n < 60 ? (int)n : 60, name);
}

/* Numbers whose names differ only; NaN = the file must say it. */
static int put_sizes(const struct plumb_gguf *g, cJSON *o, bool *lost)
{
    const struct {
        const char *gguf, *hf;
        double absent;
    } sizes[] = {
        { "embedding_length", "hidden_size", NAN },
        { "feed_forward_length", "intermediate_size", NAN },
        { "block_count", "num_hidden_layers", NAN },
        { "attention.head_count", "num_attention_heads", NAN },
        { "context_length", "max_position_embeddings", NAN },
        { "attention.layer_norm_rms_epsilon", "rms_norm_eps", NAN },
        { "rope.freq_base", "rope_theta", 10000 },
    };
    double value;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        PLUMB_TRY(number(g, sizes[i].gguf, sizes[i].absent, &value));
        plumb_json_add(o, sizes[i].hf, cJSON_CreateNumber(shortest(value)), lost);
    }
    return PLUMB_OK;
}

/* Heads: key and value of one size, rotated in full. */
static int put_heads(const struct plumb_gguf *g, cJSON *o, bool *lost)
{
    double heads, width, kv, key, value, rotated;
    PLUMB_TRY(number(g, "attention.head_count", NAN, &heads));
    PLUMB_TRY(number(g, "embedding_length", NAN, &width));
    PLUMB_TRY(number(g, "attention.head_count_kv", heads, &kv));
    PLUMB_TRY(number(g, "attention.key_length", heads > 0 ? floor(width / heads) : 0, &key));
    PLUMB_TRY(number(g, "attention.value_length", key, &value));
    PLUMB_TRY(number(g, "rope.dimension_count", key, &rotated));
    if (value != key || rotated != key)
        return plumb_fail(PLUMB_ENOTSUP,
                          "\"%s\": heads of %g keys, %g values and %g rotated numbers are not "
                          "supported: they must be equal",
                          g->path, key, value, rotated);
    plumb_json_add(o, "num_key_value_heads", cJSON_CreateNumber(kv), lost);
    plumb_json_add(o, "head_dim", cJSON_CreateNumber(key), lost);
    return PLUMB_OK;
}

static int put_rope_scaling(const struct plumb_gguf *g, cJSON *o, bool *lost)
{
    const char *type = "none";
    size_t n = 4;
    double factor;
    if (plumb_gguf_tensor_find(g, "rope_freqs.weight") >= 0)
        return plumb_fail(PLUMB_ENOTSUP,
                          "\"%s\": the tensor \"rope_freqs.weight\" (scaled rotary frequencies) is "
                          "not supported",
                          g->path);
    if (plumb_gguf_find(g, PREFIX "rope.scaling.type"))
        PLUMB_TRY(plumb_gguf_string(g, PREFIX "rope.scaling.type", &type, &n));
    if (n == 4 && !memcmp(type, "none", 4)) return PLUMB_OK;
    if (n != 6 || memcmp(type, "linear", 6))
        return plumb_fail(PLUMB_ENOTSUP,
                          "\"%s\": the rotary scaling \"%.*s\" is not supported (linear is)",
                          g->path, n < 40 ? (int)n : 40, type);
    PLUMB_TRY(number(g, "rope.scaling.factor", NAN, &factor));
    cJSON *scaling = plumb_json_add(o, "rope_scaling", cJSON_CreateObject(), lost);
    plumb_json_add(scaling, "rope_type", cJSON_CreateString("linear"), lost);
    plumb_json_add(scaling, "factor", cJSON_CreateNumber(factor), lost);
    return PLUMB_OK;
}

/* Ids of special tokens; a second end ("end of turn") joins the first. */
static int put_ids(const struct plumb_gguf *g, cJSON *o, bool *lost)
{
    int64_t bos, eos, eot, pad;
    PLUMB_TRY(plumb_gguf_i64_or(g, "tokenizer.ggml.bos_token_id", -1, &bos));
    PLUMB_TRY(plumb_gguf_i64_or(g, "tokenizer.ggml.eos_token_id", -1, &eos));
    PLUMB_TRY(plumb_gguf_i64_or(g, "tokenizer.ggml.eot_token_id", eos, &eot));
    PLUMB_TRY(plumb_gguf_i64_or(g, "tokenizer.ggml.padding_token_id", -1, &pad));
    if (bos >= 0) plumb_json_add(o, "bos_token_id", cJSON_CreateNumber((double)bos), lost);
    if (pad >= 0) plumb_json_add(o, "pad_token_id", cJSON_CreateNumber((double)pad), lost);
    if (eos >= 0 && eot == eos)
        plumb_json_add(o, "eos_token_id", cJSON_CreateNumber((double)eos), lost);
    if (eos >= 0 && eot != eos) {
        cJSON *list = plumb_json_add(o, "eos_token_id", cJSON_CreateArray(), lost);
        plumb_json_add(list, NULL, cJSON_CreateNumber((double)eos), lost);
        plumb_json_add(list, NULL, cJSON_CreateNumber((double)eot), lost);
    }
    return PLUMB_OK;
}

static int put_shapes(const struct plumb_gguf *g, cJSON *o, bool *lost)
{
    const int64_t embed = plumb_gguf_tensor_find(g, "token_embd.weight");
    if (embed < 0)
        return plumb_fail(PLUMB_EFORMAT, "\"%s\": the tensor \"token_embd.weight\" is missing",
                          g->path);
    plumb_json_add(o, "vocab_size", cJSON_CreateNumber((double)g->tensor[embed].shape[0]), lost);
    plumb_json_add(o, "tie_word_embeddings",
                   cJSON_CreateBool(plumb_gguf_tensor_find(g, "output.weight") < 0), lost);
    plumb_json_add(o, "attention_bias",
                   cJSON_CreateBool(plumb_gguf_tensor_find(g, "blk.0.attn_q.bias") >= 0), lost);
    plumb_json_add(o, "mlp_bias",
                   cJSON_CreateBool(plumb_gguf_tensor_find(g, "blk.0.ffn_up.bias") >= 0), lost);
    return PLUMB_OK;
}

/* The config.json that a folder of this model would have. */
static int read_config(const struct plumb_gguf *g, struct plumb_hf_config *config)
{
    int rc = PLUMB_OK;
    char *text = NULL;
    bool lost = false;
    cJSON *o = cJSON_CreateObject();
    PLUMB_TRYG(check_architecture(g));
    PLUMB_TRYG(check_keys(g));
    cJSON *classes = plumb_json_add(o, "architectures", cJSON_CreateArray(), &lost);
    plumb_json_add(classes, NULL, cJSON_CreateString("LlamaForCausalLM"), &lost);
    plumb_json_add(o, "model_type", cJSON_CreateString(ARCHITECTURE), &lost);
    plumb_json_add(o, "hidden_act", cJSON_CreateString("silu"), &lost);
    plumb_json_add(o, "dtype", cJSON_CreateString("float32"), &lost);
    PLUMB_TRYG(put_sizes(g, o, &lost));
    PLUMB_TRYG(put_heads(g, o, &lost));
    PLUMB_TRYG(put_rope_scaling(g, o, &lost));
    PLUMB_TRYG(put_ids(g, o, &lost));
    PLUMB_TRYG(put_shapes(g, o, &lost));
    text = lost ? NULL : cJSON_PrintUnformatted(o);
    if (!text)
        PLUMB_TRYG(plumb_fail(PLUMB_EMEM, "could not allocate the config of \"%s\"", g->path));
    PLUMB_TRYG(plumb_hf_config_parse(config, text, strlen(text), g->path));
out:
    cJSON_free(text);
    cJSON_Delete(o);
    return rc;
}

/* The table's row for a tensor called `stem`, NULL without one. */
static const struct name *look_up(const struct name *table, size_t rows, const char *stem, size_t n)
{
    for (size_t i = 0; i < rows; i++)
        if (strlen(table[i].gguf) == n && !memcmp(table[i].gguf, stem, n)) return &table[i];
    return NULL;
}

/* "blk.3.attn_q.weight" -> "model.layers.3.self_attn.q_proj.weight". */
static int rename_tensor(const struct plumb_gguf *g, const struct plumb_gguf_tensor *t,
                         const struct plumb_model_config *c, struct item *out)
{
    const char *dot = strrchr(t->name, '.');
    const struct name *row = NULL;
    int layer = -1, at = 0;
    *out = (struct item){ .tensor = t };
    if (dot && sscanf(t->name, "blk.%6d.%n", &layer, &at) == 1 && at > 0 && dot > t->name + at)
        row = look_up(inside, sizeof inside / sizeof *inside, t->name + at,
                      (size_t)(dot - t->name - at));
    else if (dot)
        row = look_up(outside, sizeof outside / sizeof *outside, t->name, (size_t)(dot - t->name));
    if (!row || layer >= c->layers || (at > 0 && layer < 0) ||
        (strcmp(dot, ".weight") && strcmp(dot, ".bias")))
        return plumb_fail(PLUMB_ENOTSUP, "\"%s\": no use is known for the tensor \"%s\"", g->path,
                          t->name);
    if (at > 0)
        snprintf(out->name, sizeof out->name, "model.layers.%d.%s%s", layer, row->hf, dot);
    else
        snprintf(out->name, sizeof out->name, "%s%s", row->hf, dot);
    out->heads = row->order == 1 ? c->heads : row->order == 2 ? c->kv_heads : 0;
    if (out->heads && t->shape[0] % (2 * out->heads))
        return plumb_fail(PLUMB_EFORMAT,
                          "\"%s\": the %lld rows of tensor \"%s\" are not those of %lld heads",
                          g->path, (long long)t->shape[0], t->name, (long long)out->heads);
    return PLUMB_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct item *)a)->name, ((const struct item *)b)->name);
}

static int list_tensors(struct model *m, const struct plumb_model_config *c)
{
    const struct plumb_gguf *g = &m->gguf;
    m->item = calloc((size_t)g->tensors + 1, sizeof *m->item);
    m->weight = calloc((size_t)g->tensors + 1, sizeof *m->weight);
    if (!m->item || !m->weight)
        return plumb_fail(PLUMB_EMEM, "could not allocate a table of %lld tensors",
                          (long long)g->tensors);
    for (int64_t i = 0; i < g->tensors; i++)
        PLUMB_TRY(rename_tensor(g, &g->tensor[i], c, &m->item[i]));
    qsort(m->item, (size_t)g->tensors, sizeof *m->item, by_name);
    for (int64_t i = 0; i < g->tensors; i++) {
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
                                    .bytes = t->bytes };
        memcpy(w->shape, t->shape, sizeof t->shape);
    }
    return PLUMB_OK;
}

/* Row r of half-split order stands at this row of interleaved order (pairs 2j, 2j + 1 of a head
 * are its rotated pairs j, j + size / 2). */
static int64_t interleaved(int64_t r, int64_t size)
{
    const int64_t within = r % size, half = size / 2;
    return r - within + within % half * 2 + within / half;
}

static int read_numbers(const struct plumb_weights *w, int64_t index, int64_t first, int64_t n,
                        double *out)
{
    const struct item *it = &((const struct model *)w->self)->item[index];
    const struct plumb_gguf_tensor *t = it->tensor;
    if (!it->heads) {
        plumb_gguf_read(t, first, n, out);
        return PLUMB_OK;
    }
    const int64_t row = t->count / t->shape[0], size = t->shape[0] / it->heads;
    while (n > 0) {
        const int64_t at = first % row, take = row - at < n ? row - at : n;
        plumb_gguf_read(t, interleaved(first / row, size) * row + at, take, out);
        first += take, out += take, n -= take;
    }
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
    *weights = (struct plumb_weights){ .read = read_numbers, .release = release, .self = m };
    PLUMB_TRYG(plumb_gguf_open(&m->gguf, path));
    PLUMB_TRYG(read_config(&m->gguf, config));
    PLUMB_TRYG(list_tensors(m, &config->model));
    weights->origin = m->gguf.path;
    weights->tensor = m->weight;
    weights->count = m->gguf.tensors;
out:
    if (rc) plumb_weights_release(weights);
    if (rc) plumb_hf_config_release(config);
    return rc;
}
