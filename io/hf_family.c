/* The tables of model families and of config.json's keys, with the defaults of transformers 5. */
#include "io/hf_family.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define LLAMA PLUMB_HF_LLAMA
#define MISTRAL PLUMB_HF_MISTRAL
#define QWEN2 PLUMB_HF_QWEN2
#define QWEN3 PLUMB_HF_QWEN3
#define GPT2 PLUMB_HF_GPT2
#define NEOX PLUMB_HF_NEOX
#define GEMMA PLUMB_HF_GEMMA
#define ALL PLUMB_HF_ALL

#define RMS .norm = PLUMB_NORM_RMS
#define LAYER .norm = PLUMB_NORM_LAYER
#define HALF .rope = PLUMB_ROPE_HALF

/* clang-format off */
static const struct plumb_hf_family families[] = {
    { "llama", LLAMA, "Llama", "ForCausalLM", "model.", .gated = true, .rotary_share = 1,
      .traits = { RMS, HALF, .act = PLUMB_ACT_SWIGLU } },
    { "mistral", MISTRAL, "Mistral", "ForCausalLM", "model.", .gated = true, .rotary_share = 1,
      .traits = { RMS, HALF, .act = PLUMB_ACT_SWIGLU } },
    { "qwen2", QWEN2, "Qwen2", "ForCausalLM", "model.", .gated = true, .rotary_share = 1,
      .traits = { RMS, HALF, .act = PLUMB_ACT_SWIGLU, .qkv_bias = true } },
    { "qwen3", QWEN3, "Qwen3", "ForCausalLM", "model.", .gated = true, .rotary_share = 1,
      .traits = { RMS, HALF, .act = PLUMB_ACT_SWIGLU, .qk_norm = true } },
    { "gemma", GEMMA, "Gemma", "ForCausalLM", "model.", .gated = true, .rotary_share = 1,
      .scale_embedding = true,
      .traits = { RMS, HALF, .act = PLUMB_ACT_GEGLU_TANH, .norm_offset = 1 } },
    { "gpt_neox", NEOX, "GPTNeoX", "ForCausalLM", "gpt_neox.", .rotary_share = 0.25,
      .traits = { LAYER, HALF, .act = PLUMB_ACT_GELU_ERF, .mlp_bias = true } },
    { "gpt2", GPT2, "GPT2", "LMHeadModel", "transformer.",
      .traits = { LAYER, .act = PLUMB_ACT_GELU_TANH, .learned_positions = true, .qkv_bias = true,
                  .o_bias = true, .mlp_bias = true } },
};
/* clang-format on */

const struct plumb_hf_family *plumb_hf_family_find(const char *model_type)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (strcmp(families[i].model_type, model_type) == 0) return &families[i];
    return NULL;
}

const char *plumb_hf_family_list(char *out, size_t n)
{
    size_t used = 0;
    for (size_t i = 0; i < sizeof families / sizeof *families && used < n; i++) {
        const int wrote = snprintf(out + used, n - used, "%s%s", i ? ", " : "",
                                   families[i].model_type);
        used += wrote > 0 ? (size_t)wrote : 0;
    }
    return out;
}

#define NEEDED PLUMB_HF_REQUIRED
#define DERIVED PLUMB_HF_DERIVED
#define SIZE(name, set, field, absent, null)                                                       \
    {                                                                                              \
        name, set, PLUMB_HF_SIZE, offsetof(struct plumb_model_config, field), absent, null         \
    }
#define REAL(name, set, field, absent)                                                             \
    {                                                                                              \
        name, set, PLUMB_HF_REAL, offsetof(struct plumb_model_config, field), absent, absent       \
    }
#define FLAG(name, set, field, absent)                                                             \
    {                                                                                              \
        name, set, PLUMB_HF_FLAG, offsetof(struct plumb_model_config, field), absent, absent       \
    }
#define ID(name, set, field, absent)                                                               \
    {                                                                                              \
        name, set, PLUMB_HF_ID, offsetof(struct plumb_model_config, field), absent, -1             \
    }
#define ACT(name, set)                                                                             \
    {                                                                                              \
        name, set, PLUMB_HF_ACT, 0, 0, 0                                                           \
    }
#define DROPOUT(name, set, absent)                                                                 \
    {                                                                                              \
        name, set, PLUMB_HF_DROPOUT, 0, absent, 0                                                  \
    }
#define MUST(name, set, value)                                                                     \
    {                                                                                              \
        name, set, PLUMB_HF_MUST, 0, value, 0                                                      \
    }
#define KNOWN(name)                                                                                \
    {                                                                                              \
        name, ALL, PLUMB_HF_KNOWN, 0, 0, 0                                                         \
    }

const struct plumb_hf_key plumb_hf_keys[] = {
    SIZE("vocab_size", ALL, vocab, NEEDED, NEEDED),
    SIZE("hidden_size", ALL & ~GPT2, width, NEEDED, NEEDED),
    SIZE("n_embd", GPT2, width, NEEDED, NEEDED),
    SIZE("num_hidden_layers", ALL & ~GPT2, layers, NEEDED, NEEDED),
    SIZE("n_layer", GPT2, layers, NEEDED, NEEDED),
    SIZE("num_attention_heads", ALL & ~GPT2, heads, NEEDED, NEEDED),
    SIZE("n_head", GPT2, heads, NEEDED, NEEDED),
    SIZE("num_key_value_heads", LLAMA, kv_heads, DERIVED, DERIVED),
    SIZE("num_key_value_heads", MISTRAL, kv_heads, 8, DERIVED),
    SIZE("num_key_value_heads", QWEN2 | QWEN3, kv_heads, 32, DERIVED),
    SIZE("num_key_value_heads", GEMMA, kv_heads, 16, DERIVED),
    SIZE("head_dim", LLAMA | MISTRAL | QWEN2, head_size, DERIVED, DERIVED),
    SIZE("head_dim", QWEN3, head_size, 128, DERIVED),
    SIZE("head_dim", GEMMA, head_size, 256, DERIVED),
    SIZE("intermediate_size", ALL & ~GPT2, ffn, NEEDED, NEEDED),
    SIZE("n_inner", GPT2, ffn, DERIVED, DERIVED),
    SIZE("max_position_embeddings", ALL & ~GPT2, max_positions, NEEDED, NEEDED),
    SIZE("n_positions", GPT2, max_positions, NEEDED, NEEDED),
    SIZE("sliding_window", MISTRAL | QWEN2 | QWEN3, window, 4096, 0),
    REAL("rms_norm_eps", LLAMA | MISTRAL | QWEN2 | QWEN3 | GEMMA, norm_eps, 1e-6),
    REAL("layer_norm_epsilon", GPT2, norm_eps, 1e-5), REAL("layer_norm_eps", NEOX, norm_eps, 1e-5),
    FLAG("tie_word_embeddings", ALL & ~(GPT2 | GEMMA), tied, 0),
    FLAG("tie_word_embeddings", GPT2 | GEMMA, tied, 1),
    FLAG("attention_bias", LLAMA | QWEN3 | GEMMA, qkv_bias, 0),
    FLAG("attention_bias", LLAMA | QWEN3 | GEMMA, o_bias, 0),
    FLAG("attention_bias", NEOX, qkv_bias, 1), FLAG("attention_bias", NEOX, o_bias, 1),
    FLAG("mlp_bias", LLAMA, mlp_bias, 0), FLAG("use_parallel_residual", NEOX, parallel_residual, 1),
    ACT("hidden_act", ALL & ~GPT2), ACT("activation_function", GPT2),
    ACT("hidden_activation", GEMMA), ID("bos_token_id", LLAMA | MISTRAL, bos_id, 1),
    ID("bos_token_id", QWEN2 | QWEN3, bos_id, -1), ID("bos_token_id", GPT2, bos_id, 50256),
    ID("bos_token_id", NEOX, bos_id, 0), ID("bos_token_id", GEMMA, bos_id, 2),
    ID("eos_token_id", LLAMA | MISTRAL | NEOX, eos_id, 2),
    ID("eos_token_id", QWEN2 | QWEN3, eos_id, -1), ID("eos_token_id", GPT2, eos_id, 50256),
    ID("eos_token_id", GEMMA, eos_id, 1), ID("pad_token_id", ALL & ~GEMMA, pad_id, -1),
    ID("pad_token_id", GEMMA, pad_id, 0),
    /* GPT-2's defaults are 0.1: transformers applies them where the file is silent. */
    DROPOUT("attention_dropout", ALL & ~GPT2, 0), DROPOUT("hidden_dropout", NEOX, 0),
    DROPOUT("attn_pdrop", GPT2, 0.1), DROPOUT("embd_pdrop", GPT2, 0.1),
    DROPOUT("resid_pdrop", GPT2, 0.1),
    /* Keys that change numbers, of these families and of their relatives. */
    MUST("scale_attn_weights", GPT2, 1), MUST("scale_attn_by_inverse_layer_idx", GPT2, 0),
    MUST("partial_rotary_factor", ALL & ~NEOX, 1), MUST("rope_interleaved", ALL, 0),
    MUST("use_mrope", ALL, 0), MUST("no_rope_layers", ALL, 0), MUST("alibi", ALL, 0),
    MUST("add_cross_attention", ALL, 0), MUST("is_encoder_decoder", ALL, 0),
    MUST("use_bidirectional_attention", ALL, 0), MUST("quantization_config", ALL, 0),
    MUST("per_layer_config", ALL, 0), MUST("pruned_heads", ALL, 0), MUST("num_experts", ALL, 0),
    MUST("num_local_experts", ALL, 0), MUST("n_routed_experts", ALL, 0),
    MUST("moe_intermediate_size", ALL, 0), MUST("attn_logit_softcapping", ALL, 0),
    MUST("final_logit_softcapping", ALL, 0), MUST("query_pre_attn_scalar", ALL, 0),
    MUST("clip_qkv", ALL, 0), MUST("use_qk_norm", ALL, 0), MUST("qk_layernorm", ALL, 0),
    MUST("logit_scale", ALL, 1), MUST("logits_scaling", ALL, 1),
    MUST("embedding_multiplier", ALL, 1), MUST("residual_multiplier", ALL, 1),
    MUST("attention_multiplier", ALL, 0), MUST("scale_emb", ALL, 1), MUST("scale_depth", ALL, 0),
    MUST("dim_model_base", ALL, 0),
    /* clang-format off */
    /* Read by hf_config.c, several at a time. */
    KNOWN("model_type"), KNOWN("architectures"), KNOWN("torch_dtype"), KNOWN("dtype"),
    KNOWN("rope_theta"), KNOWN("rope_scaling"), KNOWN("rope_parameters"), KNOWN("rotary_pct"),
    KNOWN("rotary_emb_base"), KNOWN("partial_rotary_factor"), KNOWN("use_sliding_window"),
    KNOWN("max_window_layers"), KNOWN("layer_types"), KNOWN("id2label"), KNOWN("num_labels"),
    /* Change no number of a forward or backward pass. */
    KNOWN("label2id"), KNOWN("problem_type"), KNOWN("use_cache"), KNOWN("initializer_range"),
    KNOWN("transformers_version"), KNOWN("_name_or_path"), KNOWN("name_or_path"),
    KNOWN("_commit_hash"), KNOWN("auto_map"), KNOWN("attn_implementation"),
    KNOWN("_attn_implementation"), KNOWN("_attn_implementation_autoset"), KNOWN("pretraining_tp"),
    KNOWN("n_ctx"), KNOWN("is_decoder"), KNOWN("gradient_checkpointing"),
    KNOWN("reorder_and_upcast_attn"), KNOWN("classifier_dropout"), KNOWN("summary_type"),
    KNOWN("summary_use_proj"), KNOWN("summary_activation"), KNOWN("summary_proj_to_labels"),
    KNOWN("summary_first_dropout"), KNOWN("output_attentions"), KNOWN("output_hidden_states"),
    KNOWN("return_dict"), KNOWN("return_dict_in_generate"), KNOWN("output_scores"),
    KNOWN("chunk_size_feed_forward"), KNOWN("cross_attention_hidden_size"),
    KNOWN("tie_encoder_decoder"), KNOWN("torchscript"), KNOWN("use_bfloat16"),
    KNOWN("tf_legacy_loss"), KNOWN("task_specific_params"), KNOWN("tokenizer_class"),
    KNOWN("prefix"), KNOWN("finetuning_task"), KNOWN("sep_token_id"), KNOWN("unk_token_id"),
    KNOWN("decoder_start_token_id"), KNOWN("forced_bos_token_id"), KNOWN("forced_eos_token_id"),
    KNOWN("suppress_tokens"), KNOWN("begin_suppress_tokens"), KNOWN("bad_words_ids"),
    KNOWN("do_sample"), KNOWN("temperature"), KNOWN("top_k"), KNOWN("top_p"), KNOWN("typical_p"),
    KNOWN("max_length"), KNOWN("min_length"), KNOWN("max_new_tokens"), KNOWN("num_beams"),
    KNOWN("num_beam_groups"), KNOWN("num_return_sequences"), KNOWN("diversity_penalty"),
    KNOWN("repetition_penalty"), KNOWN("length_penalty"), KNOWN("no_repeat_ngram_size"),
    KNOWN("encoder_no_repeat_ngram_size"), KNOWN("early_stopping"),
    KNOWN("exponential_decay_length_penalty"), KNOWN("remove_invalid_values"),
    KNOWN("is_llama_config"), KNOWN("transformers.js_config"), KNOWN("unsloth_version"),
    KNOWN("unsloth_fixed"),
    /* clang-format on */
};
const size_t plumb_hf_key_count = sizeof plumb_hf_keys / sizeof *plumb_hf_keys;
