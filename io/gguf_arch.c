/* The tables of GGUF's architectures, and the ways between its names and rows and those of Hugging
 * Face. */
#include "io/gguf_arch.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define LLAMA (PLUMB_HF_LLAMA | PLUMB_HF_MISTRAL)
#define QWEN (PLUMB_HF_QWEN2 | PLUMB_HF_QWEN3)
#define GEMMA PLUMB_HF_GEMMA
#define GPT2 PLUMB_HF_GPT2
#define NEOX PLUMB_HF_NEOX
#define MODERN (LLAMA | QWEN | GEMMA)

static const struct plumb_gguf_arch archs[] = {
    { "llama", "llama", PLUMB_HF_LLAMA },     { "qwen2", "qwen2", PLUMB_HF_QWEN2 },
    { "qwen3", "qwen3", PLUMB_HF_QWEN3 },     { "gemma", "gemma", PLUMB_HF_GEMMA },
    { "gpt2", "gpt2", PLUMB_HF_GPT2 },        { "gptneox", "gpt_neox", PLUMB_HF_NEOX },
    { "llama", "mistral", PLUMB_HF_MISTRAL }, /* after the first of this name */
};
enum { ARCHS = sizeof archs / sizeof *archs };

/* clang-format off */
static const struct plumb_gguf_row rows[] = {
    { MODERN, "token_embd", "model.embed_tokens" },
    { MODERN & ~GEMMA, "output_norm", "model.norm" },
    { GEMMA, "output_norm", "model.norm", .order = PLUMB_GGUF_ONE_MORE },
    { MODERN | GPT2, "output", "lm_head" },
    { GPT2, "token_embd", "transformer.wte" },
    { GPT2, "position_embd", "transformer.wpe" },
    { GPT2, "output_norm", "transformer.ln_f" },
    { NEOX, "token_embd", "gpt_neox.embed_in" },
    { NEOX, "output_norm", "gpt_neox.final_layer_norm" },
    { NEOX, "output", "embed_out" },

    { MODERN & ~GEMMA, "attn_norm", "input_layernorm", true },
    { MODERN & ~GEMMA, "ffn_norm", "post_attention_layernorm", true },
    { GEMMA, "attn_norm", "input_layernorm", true, PLUMB_GGUF_ONE_MORE },
    { GEMMA, "ffn_norm", "post_attention_layernorm", true, PLUMB_GGUF_ONE_MORE },
    { LLAMA, "attn_q", "self_attn.q_proj", true, PLUMB_GGUF_PAIRED },
    { LLAMA, "attn_k", "self_attn.k_proj", true, PLUMB_GGUF_PAIRED },
    { QWEN | GEMMA, "attn_q", "self_attn.q_proj", true },
    { QWEN | GEMMA, "attn_k", "self_attn.k_proj", true },
    { MODERN, "attn_v", "self_attn.v_proj", true },
    { MODERN, "attn_output", "self_attn.o_proj", true },
    { PLUMB_HF_QWEN3, "attn_q_norm", "self_attn.q_norm", true },
    { PLUMB_HF_QWEN3, "attn_k_norm", "self_attn.k_norm", true },
    { MODERN, "ffn_gate", "mlp.gate_proj", true },
    { MODERN, "ffn_up", "mlp.up_proj", true },
    { MODERN, "ffn_down", "mlp.down_proj", true },

    { GPT2, "attn_norm", "ln_1", true },
    { GPT2, "attn_qkv", "attn.c_attn", true, PLUMB_GGUF_TURNED },
    { GPT2, "attn_output", "attn.c_proj", true, PLUMB_GGUF_TURNED },
    { GPT2, "ffn_norm", "ln_2", true },
    { GPT2, "ffn_up", "mlp.c_fc", true, PLUMB_GGUF_TURNED },
    { GPT2, "ffn_down", "mlp.c_proj", true, PLUMB_GGUF_TURNED },

    { NEOX, "attn_norm", "input_layernorm", true },
    { NEOX, "attn_qkv", "attention.query_key_value", true, PLUMB_GGUF_UNFUSED },
    { NEOX, "attn_output", "attention.dense", true },
    { NEOX, "ffn_norm", "post_attention_layernorm", true },
    { NEOX, "ffn_up", "mlp.dense_h_to_4h", true },
    { NEOX, "ffn_down", "mlp.dense_4h_to_h", true },
};
/* clang-format on */
enum { ROWS = sizeof rows / sizeof *rows };

#define AT(field) offsetof(struct plumb_model_config, field)
const struct plumb_gguf_size plumb_gguf_sizes[] = {
    { ~GPT2, "embedding_length", "hidden_size", AT(width), false, NAN },
    { GPT2, "embedding_length", "n_embd", AT(width), false, NAN },
    { ~GPT2, "feed_forward_length", "intermediate_size", AT(ffn), false, NAN },
    { GPT2, "feed_forward_length", "n_inner", AT(ffn), false, NAN },
    { ~GPT2, "block_count", "num_hidden_layers", AT(layers), false, NAN },
    { GPT2, "block_count", "n_layer", AT(layers), false, NAN },
    { ~GPT2, "attention.head_count", "num_attention_heads", AT(heads), false, NAN },
    { GPT2, "attention.head_count", "n_head", AT(heads), false, NAN },
    { ~GPT2, "context_length", "max_position_embeddings", AT(max_positions), false, NAN },
    { GPT2, "context_length", "n_positions", AT(max_positions), false, NAN },
    { MODERN, "attention.layer_norm_rms_epsilon", "rms_norm_eps", AT(norm_eps), true, NAN },
    { GPT2, "attention.layer_norm_epsilon", "layer_norm_epsilon", AT(norm_eps), true, NAN },
    { NEOX, "attention.layer_norm_epsilon", "layer_norm_eps", AT(norm_eps), true, NAN },
    { MODERN, "rope.freq_base", "rope_theta", AT(rope_theta), true, 10000 },
    { NEOX, "rope.freq_base", "rotary_emb_base", AT(rope_theta), true, 10000 },
};
const size_t plumb_gguf_size_count = sizeof plumb_gguf_sizes / sizeof *plumb_gguf_sizes;

const struct plumb_gguf_arch *plumb_gguf_arch(const char *name, size_t n)
{
    for (int i = 0; i < ARCHS; i++)
        if (strlen(archs[i].name) == n && !memcmp(archs[i].name, name, n)) return &archs[i];
    return NULL;
}

const struct plumb_gguf_arch *plumb_gguf_arch_of(const struct plumb_hf_family *family)
{
    for (int i = 0; i < ARCHS; i++)
        if (archs[i].bit == family->bit) return &archs[i];
    return NULL;
}

const char *plumb_gguf_arch_list(char *out, size_t n)
{
    size_t used = 0;
    out[0] = 0;
    for (int i = 0; i < ARCHS - 1 && used < n; i++) { /* the last repeats the first */
        const int wrote = snprintf(out + used, n - used, "%s%s", i ? ", " : "", archs[i].name);
        used += wrote > 0 ? (size_t)wrote : 0;
    }
    return out;
}

/* The end of a tensor's name: ".weight" or ".bias"; NULL for another. */
static const char *ending(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && (!strcmp(dot, ".weight") || !strcmp(dot, ".bias")) ? dot : NULL;
}

/* "<prefix><n>.": the number, and where the rest begins; NULL without. Digits without a leading
 * zero, so that one layer has one name. */
static const char *after_layer(const char *name, const char *prefix, int64_t *layer)
{
    const size_t n = strlen(prefix);
    if (strncmp(name, prefix, n)) return NULL;
    const char *p = name + n;
    const size_t digits = strspn(p, "0123456789");
    if (digits < 1 || digits > 6 || p[digits] != '.' || (digits > 1 && *p == '0')) return NULL;
    *layer = 0;
    for (size_t i = 0; i < digits; i++)
        *layer = *layer * 10 + (p[i] - '0');
    return p + digits + 1;
}

static const struct plumb_gguf_row *find(const struct plumb_hf_family *f, bool inside, bool by_hf,
                                         const char *stem, size_t n)
{
    for (int i = 0; i < ROWS; i++) {
        const char *name = by_hf ? rows[i].hf : rows[i].gguf;
        if (rows[i].families & f->bit && rows[i].inside == inside && strlen(name) == n &&
            !memcmp(name, stem, n))
            return &rows[i];
    }
    return NULL;
}

static void layer_prefix(const struct plumb_hf_family *f, char *out, size_t n)
{
    snprintf(out, n, "%s%s.", f->tensors, f->bit == GPT2 ? "h" : "layers");
}

bool plumb_gguf_name_to_hf(const struct plumb_hf_family *f, const char *gguf, char *out, size_t n,
                           const struct plumb_gguf_row **row, int64_t *layer)
{
    char prefix[32];
    const char *dot = ending(gguf), *stem = after_layer(gguf, "blk.", layer);
    const bool inside = stem != NULL;
    if (!inside) stem = gguf, *layer = -1;
    if (!dot || dot < stem) return false;
    *row = find(f, inside, false, stem, (size_t)(dot - stem));
    if (!*row) return false;
    layer_prefix(f, prefix, sizeof prefix);
    const int wrote = inside ? snprintf(out, n, "%s%lld.%s%s", prefix, (long long)*layer,
                                        (*row)->hf, dot)
                             : snprintf(out, n, "%s%s", (*row)->hf, dot);
    return wrote > 0 && (size_t)wrote < n;
}

bool plumb_gguf_name_of_hf(const struct plumb_hf_family *f, const char *hf, char *out, size_t n,
                           const struct plumb_gguf_row **row)
{
    char prefix[32];
    int64_t layer;
    layer_prefix(f, prefix, sizeof prefix);
    const char *dot = ending(hf), *stem = after_layer(hf, prefix, &layer);
    const bool inside = stem != NULL;
    if (!inside) stem = hf;
    if (!dot || dot < stem) return false;
    *row = find(f, inside, true, stem, (size_t)(dot - stem));
    if (!*row) return false;
    const int wrote = inside
                          ? snprintf(out, n, "blk.%lld.%s%s", (long long)layer, (*row)->gguf, dot)
                          : snprintf(out, n, "%s%s", (*row)->gguf, dot);
    return wrote > 0 && (size_t)wrote < n;
}

enum plumb_gguf_order plumb_gguf_order(const struct plumb_gguf_row *row, const char *name)
{
    const char *dot = ending(name);
    if (row->order == PLUMB_GGUF_TURNED && dot && !strcmp(dot, ".bias")) return PLUMB_GGUF_SAME;
    return row->order;
}

bool plumb_gguf_rows_fit(const struct plumb_model_config *c, enum plumb_gguf_order order,
                         int64_t count)
{
    if (order == PLUMB_GGUF_PAIRED) return c->head_size % 2 == 0 && count % c->head_size == 0;
    return order != PLUMB_GGUF_UNFUSED || count == 3 * c->heads * c->head_size;
}

int64_t plumb_gguf_row_of(const struct plumb_model_config *c, enum plumb_gguf_order order,
                          int64_t r)
{
    const int64_t K = c->head_size, within = r % K;
    switch (order) {
    case PLUMB_GGUF_PAIRED: return r - within + within % (K / 2) * 2 + within / (K / 2);
    case PLUMB_GGUF_UNFUSED: return (r / K % 3 * c->heads + r / (3 * K)) * K + within;
    default: return r;
    }
}

int64_t plumb_gguf_row_in(const struct plumb_model_config *c, enum plumb_gguf_order order,
                          int64_t r)
{
    const int64_t K = c->head_size, within = r % K, part = r / K;
    switch (order) {
    case PLUMB_GGUF_PAIRED: return r - within + within % 2 * (K / 2) + within / 2;
    case PLUMB_GGUF_UNFUSED: return (part % c->heads * 3 + part / c->heads) * K + within;
    default: return r;
    }
}

double plumb_gguf_rope_factor(const struct plumb_model_config *c, int64_t i)
{
    const double frequency = pow(c->rope_theta, -2.0 * (double)i / (double)c->rope_dims);
    const double turns = (double)c->rope_original_positions * frequency / 6.283185307179586477;
    const double low = c->rope_low_freq_factor, high = c->rope_high_freq_factor;
    if (turns > high) return 1;
    if (turns < low) return c->rope_factor;
    const double blend = (turns - low) / (high - low);
    return 1 / ((1 - blend) / c->rope_factor + blend);
}
