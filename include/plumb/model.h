/* A decoder described by data: what io reads from config.json and the runtime executes, and the
 * list of its parameters, through which weights are read and written under their Hugging Face
 * names. */
#pragma once
#include <plumb/glu.h>
#include <plumb/norm.h>
#include <plumb/rope.h>
PLUMB_BEGIN_INTERNAL

enum plumb_rope_scaling { PLUMB_ROPE_DEFAULT, PLUMB_ROPE_LINEAR, PLUMB_ROPE_LLAMA3 };

struct plumb_model_config {
    char family[32];          /* model_type of config.json: "llama", "gpt2", ... */
    int64_t vocab;            /* V, rows of the embedding */
    int64_t width;            /* D, hidden_size */
    int64_t layers;
    int64_t heads, kv_heads;  /* kv_heads divides heads */
    int64_t head_size;        /* K; heads * K need not be D */
    int64_t ffn;              /* F, intermediate_size */
    int64_t max_positions;    /* longest path */
    enum plumb_norm_kind norm;
    double norm_eps;
    double norm_offset;       /* added to a norm's weight: 1 for Gemma, else 0 */
    enum plumb_act_kind act;
    enum plumb_rope_kind rope;
    int64_t rope_dims;        /* rotated leading part of a head, even, <= K */
    double rope_theta;
    enum plumb_rope_scaling rope_scaling;
    double rope_factor, rope_low_freq_factor, rope_high_freq_factor;
    int64_t rope_original_positions;
    bool learned_positions;   /* GPT-2: a table added to the embedding */
    bool parallel_residual;   /* GPT-NeoX: attention and MLP both read the layer's input */
    bool qkv_bias, o_bias, mlp_bias, lm_head_bias;
    bool qk_norm;             /* Qwen3: RMSNorm on each head of q and k before the rotation */
    bool tied;                /* output head = embedding */
    int64_t window;           /* sliding window in path positions, 0 = none */
    int64_t window_layers;    /* layers [0, window_layers) use it (all when equal to `layers`) */
    double embed_scale;       /* multiplies the embedding: sqrt(D) for Gemma, else 1 */
    double attention_scale;   /* 1/sqrt(K) unless the config says otherwise */
    double attention_softcap, final_softcap; /* 0 = none */
    double logit_scale;       /* multiplies the logits, 1 = none */
    int64_t num_labels;       /* scalar heads: 0 = LM head, else rows of the score head */
    int32_t bos_id, eos_id, pad_id; /* -1 = none */
};

/* What a parameter is. Names on the right are this engine's; io maps them to Hugging Face's. */
enum plumb_role {
    PLUMB_ROLE_EMBED,    /* (V, D) */
    PLUMB_ROLE_POSITION, /* (max_positions, D) */
    PLUMB_ROLE_NORM1, PLUMB_ROLE_NORM1_BIAS,   /* (D): before attention */
    PLUMB_ROLE_QKV, PLUMB_ROLE_QKV_BIAS,       /* ((heads + 2 kv_heads) K, D): q rows, k rows, v
                                                * rows; (…) */
    PLUMB_ROLE_QNORM, PLUMB_ROLE_KNORM,        /* (K) */
    PLUMB_ROLE_O, PLUMB_ROLE_O_BIAS,           /* (D, heads K); (D) */
    PLUMB_ROLE_NORM2, PLUMB_ROLE_NORM2_BIAS,   /* (D): before the MLP */
    PLUMB_ROLE_UP, PLUMB_ROLE_UP_BIAS,         /* (2F, D) gate rows then up rows, or (F, D)
                                                * without gate; (…) */
    PLUMB_ROLE_DOWN, PLUMB_ROLE_DOWN_BIAS,     /* (D, F); (D) */
    PLUMB_ROLE_NORMF, PLUMB_ROLE_NORMF_BIAS,   /* (D): before the head */
    PLUMB_ROLE_HEAD, PLUMB_ROLE_HEAD_BIAS,     /* (V, D) absent when tied; (V) */
    PLUMB_ROLE_SCORE,                          /* (num_labels, D) */
    PLUMB_ROLES
};

struct plumb_param {
    enum plumb_role role;
    int32_t layer;        /* -1 outside the layers */
    int64_t rows, cols;   /* vectors: rows = 1 */
    int64_t offset;       /* first element in the flat buffers; a multiple of 32 */
    bool decay;           /* weight decay applies: matrices and embeddings, not biases and norms */
};

#define PLUMB_PARAMS_PER_LAYER 14
const char *plumb_role_name(enum plumb_role role); /* "q/k/v projection", ... for messages */
/* Fills `out` (room for `capacity`) in flat-buffer order and sets *count and *elements (of one
 * flat buffer, padding included). Order: embedding, position, layers, final norm, head; inside a
 * layer what decays comes first. Fails on an impossible config, naming the field. */
int plumb_model_params(const struct plumb_model_config *c, struct plumb_param *out,
                       int64_t capacity, int64_t *count, int64_t *elements);
/* An upper bound of *count. */
int64_t plumb_model_param_capacity(const struct plumb_model_config *c);

PLUMB_END_INTERNAL
