/* GGUF's metadata as the config.json that a folder of the model would have. */
#include "io/gguf_model.h"

#include <math.h>
#include <plumb/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/gguf_arch.h"
#include "io/gguf_cursor.h"
#include "io/json.h"

#define ALL PLUMB_HF_ALL
#define NEOX PLUMB_HF_NEOX
#define MODERN (ALL & ~(NEOX | PLUMB_HF_GPT2))

/* Keys below the architecture's prefix, beside those of plumb_gguf_sizes. */
static const struct key {
    unsigned families;
    const char *name;
    bool must; /* changes numbers in a way not built here unless it is `value` */
    double value;
} keys[] = {
    { ALL, "vocab_size" },
    { ALL, "attention.head_count_kv" },
    { MODERN, "attention.key_length" },
    { MODERN, "attention.value_length" },
    { ALL & ~PLUMB_HF_GPT2, "rope.dimension_count" },
    { MODERN, "rope.scaling.type" },
    { MODERN, "rope.scaling.factor" },
    { MODERN, "rope.scaling.original_context_length" },
    { MODERN, "rope.scaling.finetuned" },
    { PLUMB_HF_MISTRAL, "attention.sliding_window" },
    { ALL & ~PLUMB_HF_MISTRAL, "attention.sliding_window", true, 0 },
    { NEOX, "use_parallel_residual" },
    { ALL & ~NEOX, "use_parallel_residual", true, 0 },
    { ALL, "expert_count", true, 0 },
    { ALL, "expert_used_count", true, 0 },
    { ALL, "attention.scale", true, 0 },
    { ALL, "attention.clamp_kqv", true, 0 },
    { ALL, "attention.max_alibi_bias", true, 0 },
    { ALL, "attn_logit_softcapping", true, 0 },
    { ALL, "final_logit_softcapping", true, 0 },
    { ALL, "logit_scale", true, 1 },
    { ALL, "embedding_scale", true, 1 },
    { ALL, "residual_scale", true, 1 },
    { ALL, "rope.scale_linear", true, 1 },
    { ALL, "rope.scaling.attn_factor", true, 1 },
};
enum { KEYS = sizeof keys / sizeof *keys };

/* A file on its way to a config.json. */
struct source {
    const struct plumb_gguf *gguf;
    const struct plumb_hf_family *family;
    const char *prefix; /* the architecture's name */
    cJSON *json;
    bool lost; /* a key found no memory */
};

static void put_number(struct source *m, cJSON *o, const char *key, double value)
{
    plumb_json_add(o, key, cJSON_CreateNumber(value), &m->lost);
}

static void put_text(struct source *m, cJSON *o, const char *key, const char *value)
{
    plumb_json_add(o, key, cJSON_CreateString(value), &m->lost);
}

static void put_flag(struct source *m, const char *key, bool value)
{
    plumb_json_add(m->json, key, cJSON_CreateBool(value), &m->lost);
}

static void put_scaling(struct source *m, const char *type, double factor)
{
    cJSON *o = plumb_json_add(m->json, "rope_scaling", cJSON_CreateObject(), &m->lost);
    put_text(m, o, "rope_type", type);
    put_number(m, o, "factor", factor);
}

/* "<architecture>.<name>" */
static const char *key_of(const struct source *m, const char *name, char out[128])
{
    snprintf(out, 128, "%s.%s", m->prefix, name);
    return out;
}

static const struct plumb_gguf_entry *find_key(const struct source *m, const char *name)
{
    char key[128];
    return plumb_gguf_find(m->gguf, key_of(m, name, key));
}

/* The value of a key below the prefix, `fallback` when absent; a truth value is 0 or 1. */
static int number(const struct source *m, const char *name, double fallback, double *out)
{
    char key[128];
    const struct plumb_gguf_entry *e = plumb_gguf_find(m->gguf, key_of(m, name, key));
    if (e && !e->array && e->type == PLUMB_GGUF_BOOL) {
        bool flag;
        PLUMB_TRY(plumb_gguf_bool_or(m->gguf, key, false, &flag));
        *out = flag;
        return PLUMB_OK;
    }
    PLUMB_TRY(plumb_gguf_f64_or(m->gguf, key, fallback, out));
    if (!isnan(*out)) return PLUMB_OK;
    return plumb_fail(PLUMB_EFORMAT, "\"%s\": the key \"%s\" is %s", m->gguf->path, key,
                      e ? "not a number" : "missing");
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

static int check_key(const struct source *m, const struct key *k)
{
    double value;
    if (!k->must || !(k->families & m->family->bit)) return PLUMB_OK;
    PLUMB_TRY(number(m, k->name, k->value, &value));
    if (value == k->value) return PLUMB_OK;
    return plumb_fail(PLUMB_ENOTSUP, "\"%s\": \"%s.%s\" = %g is not supported", m->gguf->path,
                      m->prefix, k->name, value);
}

static bool known(const struct source *m, const char *name, size_t n)
{
    for (int k = 0; k < KEYS; k++)
        if (keys[k].families & m->family->bit && strlen(keys[k].name) == n &&
            !memcmp(keys[k].name, name, n))
            return true;
    for (size_t k = 0; k < plumb_gguf_size_count; k++)
        if (plumb_gguf_sizes[k].families & m->family->bit &&
            strlen(plumb_gguf_sizes[k].gguf) == n && !memcmp(plumb_gguf_sizes[k].gguf, name, n))
            return true;
    return false;
}

/* Refuses keys that change numbers, warns of those that nobody knows. */
static int check_keys(const struct source *m)
{
    const struct plumb_gguf *g = m->gguf;
    const size_t prefix = strlen(m->prefix);
    char unknown[512] = "";
    size_t used = 0;
    for (int k = 0; k < KEYS; k++)
        PLUMB_TRY(check_key(m, &keys[k]));
    for (int64_t i = 0; i < g->entries && used < sizeof unknown; i++) {
        const struct plumb_gguf_entry *e = &g->entry[i];
        if (e->key_bytes <= prefix || memcmp(e->key, m->prefix, prefix) || e->key[prefix] != '.' ||
            known(m, e->key + prefix + 1, e->key_bytes - prefix - 1))
            continue;
        const int n = snprintf(unknown + used, sizeof unknown - used, "%s\"%.*s\"",
                               used ? ", " : "", e->key_bytes < 80 ? (int)e->key_bytes : 80,
                               e->key);
        used += n > 0 ? (size_t)n : 0;
    }
    if (used)
        plumb_log(PLUMB_LOG_WARN, "\"%s\": unknown keys, taken to change no numbers: %s", g->path,
                  unknown);
    return PLUMB_OK;
}

/* Which family the file is of. */
static int find_family(struct source *m)
{
    const struct plumb_gguf *g = m->gguf;
    const char *name;
    char list[128];
    size_t n;
    int64_t parts;
    double window = 0;
    PLUMB_TRY(plumb_gguf_string(g, "general.architecture", &name, &n));
    const struct plumb_gguf_arch *arch = plumb_gguf_arch(name, n);
    if (!arch)
        return plumb_fail(PLUMB_ENOTSUP,
                          "\"%s\": the architecture \"%.*s\" is not supported in GGUF files (%s "
                          "are)",
                          g->path, n < 60 ? (int)n : 60, name,
                          plumb_gguf_arch_list(list, sizeof list));
    m->prefix = arch->name;
    m->family = plumb_hf_family_find(arch->family);
    if (arch->bit == PLUMB_HF_LLAMA) PLUMB_TRY(number(m, "attention.sliding_window", 0, &window));
    if (window > 0) m->family = plumb_hf_family_find("mistral");
    PLUMB_TRY(plumb_gguf_i64_or(g, "split.count", 1, &parts));
    if (parts > 1)
        return plumb_fail(PLUMB_ENOTSUP,
                          "\"%s\" is one of %lld parts of a split file: join them with "
                          "llama-gguf-split --merge FIRST-PART OUTPUT.gguf",
                          g->path, (long long)parts);
    return PLUMB_OK;
}

static int put_sizes(struct source *m)
{
    double value;
    for (size_t i = 0; i < plumb_gguf_size_count; i++) {
        const struct plumb_gguf_size *s = &plumb_gguf_sizes[i];
        if (!(s->families & m->family->bit)) continue;
        PLUMB_TRY(number(m, s->gguf, s->absent, &value));
        put_number(m, m->json, s->hf, shortest(value));
    }
    return PLUMB_OK;
}

/* Heads: key and value of one size; rotated in full, but by GPT-NeoX. */
static int put_heads(struct source *m)
{
    double heads, width, kv, key, value, rotated;
    PLUMB_TRY(number(m, "attention.head_count", NAN, &heads));
    PLUMB_TRY(number(m, "embedding_length", NAN, &width));
    PLUMB_TRY(number(m, "attention.head_count_kv", heads, &kv));
    PLUMB_TRY(number(m, "attention.key_length", heads > 0 ? floor(width / heads) : 0, &key));
    PLUMB_TRY(number(m, "attention.value_length", key, &value));
    PLUMB_TRY(number(m, "rope.dimension_count", key, &rotated));
    const bool modern = (m->family->bit & MODERN) != 0;
    if (value != key || (modern && rotated != key) || !(rotated <= key))
        return plumb_fail(PLUMB_ENOTSUP,
                          "\"%s\": heads of %g keys, %g values and %g rotated numbers are not "
                          "supported: they must be equal",
                          m->gguf->path, key, value, rotated);
    if (!modern && kv != heads)
        return plumb_fail(PLUMB_ENOTSUP,
                          "\"%s\": \"%s.attention.head_count_kv\" = %g of %g heads "
                          "is not supported",
                          m->gguf->path, m->prefix, kv, heads);
    if (modern) put_number(m, m->json, "num_key_value_heads", kv);
    if (modern) put_number(m, m->json, "head_dim", key);
    if (m->family->bit != NEOX) return PLUMB_OK;
    double share = rotated / key;
    if (floor(key * share) < rotated) share = nextafter(share, 2);
    put_number(m, m->json, "rotary_pct", share);
    return PLUMB_OK;
}

/* The scaling of Llama 3.1 and later stands in a tensor, what it was made from nowhere: the file's
 * numbers must be those of the published settings. */
static int put_llama3(struct source *m, const struct plumb_gguf_tensor *t)
{
    struct plumb_model_config c = { .rope_dims = 2 * t->count,
                                    .rope_low_freq_factor = 1,
                                    .rope_high_freq_factor = 4,
                                    .rope_original_positions = 8192 };
    PLUMB_TRY(number(m, "rope.freq_base", 10000, &c.rope_theta));
    double factor = NAN;
    for (int64_t i = t->count - 1; i >= 0; i--) {
        plumb_gguf_read(t, i, 1, &factor);
        if (i == t->count - 1) c.rope_factor = factor;
        const double want = plumb_gguf_rope_factor(&c, i);
        if (!(fabs(factor - want) <= 1e-4 * want))
            return plumb_fail(PLUMB_ENOTSUP,
                              "\"%s\": the tensor \"%s\" (scaled rotary frequencies) is not that "
                              "of Llama 3: number %lld is %g, not %g",
                              m->gguf->path, t->name, (long long)i, factor, want);
    }
    put_scaling(m, "llama3", c.rope_factor);
    cJSON *scaling = cJSON_GetObjectItemCaseSensitive(m->json, "rope_scaling");
    put_number(m, scaling, "low_freq_factor", c.rope_low_freq_factor);
    put_number(m, scaling, "high_freq_factor", c.rope_high_freq_factor);
    put_number(m, scaling, "original_max_position_embeddings", (double)c.rope_original_positions);
    return PLUMB_OK;
}

static int put_rope_scaling(struct source *m)
{
    const struct plumb_gguf *g = m->gguf;
    const char *type = "none";
    char key[128];
    size_t n = 4;
    double factor;
    const int64_t tensor = plumb_gguf_tensor_find(g, PLUMB_GGUF_ROPE_FREQS);
    if (tensor >= 0) return put_llama3(m, &g->tensor[tensor]);
    if (find_key(m, "rope.scaling.type"))
        PLUMB_TRY(plumb_gguf_string(g, key_of(m, "rope.scaling.type", key), &type, &n));
    if (n == 4 && !memcmp(type, "none", 4)) return PLUMB_OK;
    if (n != 6 || memcmp(type, "linear", 6))
        return plumb_fail(PLUMB_ENOTSUP,
                          "\"%s\": the rotary scaling \"%.*s\" is not supported (linear is)",
                          g->path, n < 40 ? (int)n : 40, type);
    PLUMB_TRY(number(m, "rope.scaling.factor", NAN, &factor));
    put_scaling(m, "linear", shortest(factor));
    return PLUMB_OK;
}

/* An id of a special token; null where the file has none, so that no family's own stands in. */
static void put_id(struct source *m, const char *key, int64_t id)
{
    if (id >= 0)
        put_number(m, m->json, key, (double)id);
    else
        plumb_json_add(m->json, key, cJSON_CreateNull(), &m->lost);
}

/* Ids of special tokens; a second end ("end of turn") joins the first. SentencePiece files that are
 * silent mean its usual ids. */
static int put_ids(struct source *m)
{
    const struct plumb_gguf *g = m->gguf;
    int64_t bos, eos, eot, pad;
    char *tokens;
    PLUMB_TRY(plumb_gguf_copy_string(g, "tokenizer.ggml.model", &tokens));
    const bool pieces = tokens && !strcmp(tokens, "llama");
    free(tokens);
    PLUMB_TRY(plumb_gguf_i64_or(g, "tokenizer.ggml.bos_token_id", pieces ? 1 : -1, &bos));
    PLUMB_TRY(plumb_gguf_i64_or(g, "tokenizer.ggml.eos_token_id", pieces ? 2 : -1, &eos));
    PLUMB_TRY(plumb_gguf_i64_or(g, "tokenizer.ggml.eot_token_id", eos, &eot));
    PLUMB_TRY(plumb_gguf_i64_or(g, "tokenizer.ggml.padding_token_id", -1, &pad));
    put_id(m, "bos_token_id", bos);
    if (pad >= 0) put_id(m, "pad_token_id", pad);
    if (eos < 0 || eot < 0 || eot == eos) {
        put_id(m, "eos_token_id", eos);
        return PLUMB_OK;
    }
    cJSON *list = plumb_json_add(m->json, "eos_token_id", cJSON_CreateArray(), &m->lost);
    plumb_json_add(list, NULL, cJSON_CreateNumber((double)eos), &m->lost);
    plumb_json_add(list, NULL, cJSON_CreateNumber((double)eot), &m->lost);
    return PLUMB_OK;
}

static bool has_tensor(const struct source *m, const char *name)
{
    return plumb_gguf_tensor_find(m->gguf, name) >= 0;
}

/* Whether the head is the embedding: there is none of its own, or a copy of it. */
static bool is_tied(const struct source *m, const struct plumb_gguf_tensor *embed)
{
    const int64_t i = plumb_gguf_tensor_find(m->gguf, "output.weight");
    const struct plumb_gguf_tensor *head = i < 0 ? NULL : &m->gguf->tensor[i];
    return !head || (head->format == embed->format && head->bytes == embed->bytes &&
                     !memcmp(head->data, embed->data, embed->bytes));
}

/* What the tensors say. */
static int put_shapes(struct source *m)
{
    const int64_t i = plumb_gguf_tensor_find(m->gguf, "token_embd.weight");
    if (i < 0)
        return plumb_fail(PLUMB_EFORMAT, "\"%s\": the tensor \"token_embd.weight\" is missing",
                          m->gguf->path);
    const struct plumb_gguf_tensor *embed = &m->gguf->tensor[i];
    const struct plumb_gguf_format *f = embed->format;
    const bool qkv_bias = has_tensor(m, m->family->bit == NEOX ? "blk.0.attn_qkv.bias"
                                                               : "blk.0.attn_q.bias");
    if (qkv_bias && m->family->bit == PLUMB_HF_MISTRAL)
        return plumb_fail(PLUMB_ENOTSUP,
                          "\"%s\": biases of q, k and v beside a sliding window are not supported",
                          m->gguf->path);
    put_text(m, m->json, "dtype",
             plumb_dtype_name(f->quant == PLUMB_QUANT_NONE ? f->plain : PLUMB_F32));
    put_number(m, m->json, "vocab_size", (double)embed->shape[0]);
    put_flag(m, "tie_word_embeddings", is_tied(m, embed));
    if (m->family->bit & (PLUMB_HF_LLAMA | PLUMB_HF_QWEN3 | PLUMB_HF_GEMMA | NEOX))
        put_flag(m, "attention_bias", qkv_bias);
    if (m->family->bit == PLUMB_HF_LLAMA)
        put_flag(m, "mlp_bias", has_tensor(m, "blk.0.ffn_up.bias"));
    return PLUMB_OK;
}

/* What is the same in all files of a family, and what one key says alone. */
static int put_traits(struct source *m)
{
    static const char *const dropout[] = { "attn_pdrop", "embd_pdrop", "resid_pdrop" };
    char class[64];
    double value;
    const bool gpt2 = m->family->bit == PLUMB_HF_GPT2;
    snprintf(class, sizeof class, "%s%s", m->family->stem, m->family->causal);
    cJSON *classes = plumb_json_add(m->json, "architectures", cJSON_CreateArray(), &m->lost);
    plumb_json_add(classes, NULL, cJSON_CreateString(class), &m->lost);
    put_text(m, m->json, "model_type", m->family->model_type);
    put_text(m, m->json, gpt2 ? "activation_function" : "hidden_act",
             gpt2                               ? "gelu_new"
             : m->family->bit == NEOX           ? "gelu"
             : m->family->bit == PLUMB_HF_GEMMA ? "gelu_pytorch_tanh"
                                                : "silu");
    for (int i = 0; i < 3 && gpt2; i++) /* transformers would drop a tenth where nothing is said */
        put_number(m, m->json, dropout[i], 0);
    if (m->family->bit == PLUMB_HF_MISTRAL) {
        PLUMB_TRY(number(m, "attention.sliding_window", NAN, &value));
        put_number(m, m->json, "sliding_window", value);
    }
    if (m->family->bit == NEOX) {
        PLUMB_TRY(number(m, "use_parallel_residual", 1, &value));
        put_flag(m, "use_parallel_residual", value != 0);
    }
    return PLUMB_OK;
}

static int fill(struct source *m)
{
    PLUMB_TRY(find_family(m));
    PLUMB_TRY(check_keys(m));
    PLUMB_TRY(put_traits(m));
    PLUMB_TRY(put_sizes(m));
    PLUMB_TRY(put_heads(m));
    PLUMB_TRY(put_rope_scaling(m));
    PLUMB_TRY(put_ids(m));
    return put_shapes(m);
}

int plumb_gguf_config(const struct plumb_gguf *g, struct plumb_hf_config *config)
{
    struct source m = { .gguf = g, .json = cJSON_CreateObject() };
    *config = (struct plumb_hf_config){ 0 };
    int rc = fill(&m);
    char *text = rc || m.lost ? NULL : cJSON_PrintUnformatted(m.json);
    if (!rc && !text)
        rc = plumb_fail(PLUMB_EMEM, "could not allocate the config of \"%s\"", g->path);
    if (!rc) rc = plumb_hf_config_parse(config, text, strlen(text), g->path);
    cJSON_free(text);
    cJSON_Delete(m.json);
    return rc;
}
